'use client';

import { Box, Group, Progress, Text } from '@mantine/core';
import type { StepStatus } from '@offshoot/clone-core/contract';
import { formatBytes, formatDuration } from '../../lib/format.ts';
import { useNow } from '../../lib/now.ts';
import { progressWords } from '../../lib/operation.ts';
import type { OperationView } from '../../server/views/operation.ts';
import { StepIcon, toneColor } from '../display/State.tsx';

const pending: StepStatus = { state: 'pending' };

/** The steps of the plan in their order: done, running with its bytes, to do; or undone. */
export function Timeline({ operation }: { operation: OperationView }) {
  if (!operation.plan) return null;
  return (
    <Box component="ol" className="panel" m={0} p={0} style={{ listStyle: 'none' }} aria-label="Steps">
      {operation.plan.steps.map((step, index) => (
        <StepLine
          key={step.id}
          title={step.title}
          bytes={step.bytes}
          status={operation.steps[index] ?? pending}
        />
      ))}
    </Box>
  );
}

function StepLine({
  title,
  bytes,
  status,
}: {
  title: string;
  bytes: number | undefined;
  status: StepStatus;
}) {
  const now = useNow();
  const { progress, state } = status;
  const running = state === 'running' || state === 'undoing';
  const started = status.startedAt === undefined ? undefined : Date.parse(status.startedAt);
  const ended = status.endedAt === undefined ? (running ? now : undefined) : Date.parse(status.endedAt);
  const seconds =
    started === undefined || ended === undefined ? undefined : Math.max(0, (ended - started) / 1000);
  const total = progress?.totalBytes ?? 0;
  const words = running
    ? progressWords(progress)
    : (status.note ?? (state === 'pending' && bytes !== undefined && bytes > 0 ? formatBytes(bytes) : ''));
  return (
    <Box
      component="li"
      className="row"
      style={{ gridTemplateColumns: '18px minmax(0, 1fr) auto', alignItems: 'start', minHeight: 44 }}
    >
      <StepIcon state={state} />
      <Box style={{ minWidth: 0 }}>
        <Group gap="xs" justify="space-between" wrap="wrap">
          <Text size="sm" fw={running ? 600 : 450} {...(state === 'pending' ? { c: 'dimmed' } : {})}>
            {title}
          </Text>
          <Text size="sm" c="dimmed" className={running ? 'num' : undefined}>
            {words}
          </Text>
        </Group>
        {running && total > 0 ? (
          <Progress
            mt={6}
            mb={2}
            size={8}
            value={(100 * (progress?.doneBytes ?? 0)) / total}
            color={toneColor('working')}
            transitionDuration={200}
            aria-label={title}
          />
        ) : null}
      </Box>
      <Text size="sm" c="dimmed" className="num" ta="right" miw={56}>
        {seconds === undefined ? '' : formatDuration(seconds)}
      </Text>
    </Box>
  );
}
