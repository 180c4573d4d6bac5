import { Group, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import type { GuestView } from '../../server/views/guest.ts';
import { Quiet } from '../display/Text.tsx';

/** What someone has to look at, beside a guest's name in a list. */
export function Marks({ guest }: { guest: Pick<GuestView, 'unproven' | 'firstBootCode' | 'changes'> }) {
  return (
    <>
      {guest.unproven === null ? null : (
        <Mark>{guest.unproven.networkOff ? 'not proven, network off' : 'identity not proven'}</Mark>
      )}
      {(guest.firstBootCode ?? 0) === 0 ? null : <Mark>first-boot script failed</Mark>}
      {guest.changes.length === 0 ? null : <Quiet>changed outside</Quiet>}
    </>
  );
}

function Mark({ children }: { children: React.ReactNode }) {
  return (
    <Group gap={4} wrap="nowrap" component="span" style={{ display: 'inline-flex' }}>
      <IconAlertTriangle
        size={15}
        stroke={2}
        color="var(--state-attention)"
        aria-hidden
        style={{ flexShrink: 0 }}
      />
      <Text span inherit fw={400}>
        {children}
      </Text>
    </Group>
  );
}
