import { Group, List, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconInfoCircle } from '@tabler/icons-react';
import type { Estimates, PlanNote, PlanView } from '@offshoot/clone-core/contract';
import { formatBytes, formatDuration } from '../../lib/format.ts';

/** "moves 1.5 GiB · stores 193 KiB · about 4 s" */
export function estimateWords(estimates: Estimates): string {
  return `moves ${formatBytes(estimates.moveBytes)} · stores ${formatBytes(estimates.storeBytes)} · about ${formatDuration(estimates.seconds)}`;
}

export function Notes({ notes }: { notes: readonly PlanNote[] }) {
  // A capture and its clones may say the same: once is enough.
  const said = [...new Map(notes.map((note) => [note.text, note])).values()];
  if (said.length === 0) return null;
  return (
    <Stack gap={4}>
      {said.map((note) => (
        <Group key={note.text} gap={8} wrap="nowrap" align="flex-start">
          {note.level === 'warn' ? (
            <IconAlertTriangle
              size={16}
              color="var(--state-attention)"
              aria-label="Warning"
              style={{ flexShrink: 0, marginTop: 2 }}
            />
          ) : (
            <IconInfoCircle
              size={16}
              color="var(--mantine-color-dimmed)"
              aria-hidden
              style={{ flexShrink: 0, marginTop: 2 }}
            />
          )}
          <Text size="sm">{note.text}</Text>
        </Group>
      ))}
    </Stack>
  );
}

/** A plan in short: what, how much, its steps. */
export function PlanSummary({ plan }: { plan: PlanView }) {
  return (
    <Stack gap={6}>
      <Text size="sm" fw={600}>
        {plan.summary}
      </Text>
      <Text size="sm" c="dimmed" className="num">
        {estimateWords(plan.estimates)}
      </Text>
      <Notes notes={plan.notes} />
      <List type="ordered" size="sm" c="dimmed" spacing={2}>
        {plan.steps.map((step) => (
          <List.Item key={step.id}>{step.title}</List.Item>
        ))}
      </List>
    </Stack>
  );
}
