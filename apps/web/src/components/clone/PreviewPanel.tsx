'use client';

import { Box, Group, List, Loader, Skeleton, Stack, Text, Title } from '@mantine/core';
import type { ClonePreview, PlanView, PublicError } from '@offshoot/clone-core/contract';
import { formatBytes, formatDuration } from '../../lib/format.ts';
import { Problem } from '../display/Blocks.tsx';
import { Simulated } from '../display/Text.tsx';
import { placeNotes, Places } from './Places.tsx';
import { Notes } from './PlanSummary.tsx';

interface Props {
  preview: ClonePreview | undefined;
  /** The form is complete enough to ask. */
  ready: boolean;
  /** What is shown is for what is typed. */
  current: boolean;
  error: PublicError | undefined;
  retry: () => void;
}

/** What will happen, before it does: the plan itself. */
export function PreviewPanel({ preview, ready, current, error, retry }: Props) {
  return (
    <Box
      component="section"
      className="panel"
      p="md"
      mih={280}
      style={{ background: 'var(--surface)' }}
      aria-label="What will happen"
      aria-busy={ready && !current && !error}
    >
      <Group justify="space-between" mb="sm" wrap="nowrap">
        <Title order={2}>What will happen</Title>
        {ready && !current && !error ? (
          <Loader size={16} color="var(--state-working)" aria-label="Working it out" />
        ) : preview?.simulated ? (
          <Simulated />
        ) : null}
      </Group>
      {error ? (
        <Problem error={error} {...(error.retryable || error.code === 'stale-plan' ? { retry } : {})} />
      ) : preview ? (
        <Content preview={preview} dim={!current} />
      ) : ready ? (
        <Waiting />
      ) : (
        <Text size="sm" c="dimmed">
          Pick a source and a name to see the plan: what is moved, what is stored, how long it takes.
        </Text>
      )}
    </Box>
  );
}

function Waiting() {
  return (
    <Stack gap="sm">
      <Skeleton h={16} w="80%" />
      <Skeleton h={44} />
      <Skeleton h={12} w="60%" />
      <Skeleton h={12} w="70%" />
      <Skeleton h={12} w="50%" />
    </Stack>
  );
}

function Content({ preview, dim }: { preview: ClonePreview; dim: boolean }) {
  const { count, each, capture, transfer, total } = preview;
  return (
    <Stack gap="sm" opacity={dim ? 0.6 : 1}>
      <Text size="sm" fw={600}>
        {count === 1 ? each.summary : `${each.summary}, and ${count - 1} more like it`}
      </Text>
      <Group gap="xl" wrap="nowrap">
        <Figure name="Moves" value={formatBytes(total.moveBytes)} />
        <Figure
          name="Stores"
          value={formatBytes(total.storeBytes)}
          detail={
            count > 1
              ? `${count} × ${formatBytes(each.estimates.storeBytes)}${transfer ? ', and the base' : ''}`
              : undefined
          }
        />
        <Figure name="About" value={formatDuration(total.seconds)} />
      </Group>
      {preview.placement ? <Places placement={preview.placement} /> : null}
      <Notes
        notes={
          preview.placement
            ? placeNotes(preview.placement)
            : [...(capture?.notes ?? []), ...(transfer?.notes ?? []), ...each.notes]
        }
      />
      {capture ? <Steps title={`First, once: ${capture.summary}`} plan={capture} /> : null}
      {transfer ? (
        <Steps
          title={
            preview.placement ? 'First, on each host without the base' : `First, once: ${transfer.summary}`
          }
          plan={transfer}
        />
      ) : null}
      <Steps title={count === 1 ? 'Steps' : 'Steps of each'} plan={each} />
    </Stack>
  );
}

function Figure({ name, value, detail }: { name: string; value: string; detail?: string | undefined }) {
  return (
    <div>
      <Text size="xs" c="dimmed">
        {name}
      </Text>
      <Text fz={19} fw={620} className="num" lh={1.25}>
        {value}
      </Text>
      {detail === undefined ? null : (
        <Text size="xs" c="dimmed" className="num">
          {detail}
        </Text>
      )}
    </div>
  );
}

function Steps({ title, plan }: { title: string; plan: PlanView }) {
  return (
    <div>
      <Text size="sm" c="dimmed" mb={2}>
        {title}
      </Text>
      <List type="ordered" size="sm" spacing={1}>
        {plan.steps.map((step) => (
          <List.Item key={step.id}>
            {step.title}
            {step.bytes === undefined || step.bytes === 0 ? '' : ` (${formatBytes(step.bytes)})`}
          </List.Item>
        ))}
      </List>
    </div>
  );
}
