'use client';

import type { Duty } from '@offshoot/clone-core/contract/joining';
import { Stack, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { publicError, useTRPC } from '../../../lib/trpc.ts';
import type { HostView } from '../../../server/views/host.ts';
import { Problem } from '../../display/Blocks.tsx';
import { Buttons } from '../../guest/Buttons.tsx';
import { useHostChange } from './useHostChange.ts';

const words: Readonly<Record<Duty, { label: string; text: string }>> = {
  serving: { label: 'Serve again', text: 'It takes new work, and begins what waited.' },
  draining: {
    label: 'Drain',
    text: 'It takes no new guests and no new work. What it was asked for already is finished. Guests run on, and can be stopped, deleted and moved away.',
  },
  maintenance: {
    label: 'Maintenance',
    text: 'It takes no new work and begins none: what waits, waits until it serves again. What runs is finished. Guests run on.',
  },
};

/** Whether a host is asked for work. */
export function DutyForm({ host, duty, onDone }: { host: HostView; duty: Duty; onDone: () => void }) {
  const trpc = useTRPC();
  const change = useMutation(trpc.fleet.setDuty.mutationOptions({ onSuccess: useHostChange(onDone) }));
  return (
    <Stack gap="sm">
      <Text size="sm">{words[duty].text}</Text>
      {change.error ? <Problem error={publicError(change.error)} /> : null}
      <Buttons
        label={words[duty].label}
        busy={change.isPending}
        onDone={onDone}
        onGo={() => change.mutate({ id: host.id, duty })}
      />
    </Stack>
  );
}
