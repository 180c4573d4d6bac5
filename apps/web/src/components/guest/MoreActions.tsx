'use client';

import { Button, Menu, Text } from '@mantine/core';
import {
  IconChevronDown,
  IconPackageExport,
  IconRotate2,
  IconTransfer,
  IconUnlink,
} from '@tabler/icons-react';
import { whyNoExport, whyNoMove, whyNoPromote, whyNoReset } from '../../lib/guest-actions.ts';
import type { GuestView } from '../../server/views/guest.ts';
import type { Action } from './actions.tsx';

/** What is done to a guest less often. What can't be done stays in the list and says why. */
export function MoreActions({ guest, onAction }: { guest: GuestView; onAction: (action: Action) => void }) {
  const items = [
    {
      action: 'migrate',
      label: 'Move to another host',
      icon: <IconTransfer size={16} aria-hidden />,
      why: whyNoMove(guest),
    },
    {
      action: 'export',
      label: 'Export for another hypervisor',
      icon: <IconPackageExport size={16} aria-hidden />,
      why: whyNoExport(guest),
    },
    {
      action: 'reset',
      label: 'Reset to as cloned',
      icon: <IconRotate2 size={16} aria-hidden />,
      why: whyNoReset(guest),
    },
    {
      action: 'promote',
      label: guest.states === null ? 'Detach from its base' : 'Detach from its earlier states',
      icon: <IconUnlink size={16} aria-hidden />,
      why: whyNoPromote(guest),
    },
  ] as const;
  return (
    <Menu position="bottom-end" width={300} withinPortal>
      <Menu.Target>
        <Button size="sm" variant="default" rightSection={<IconChevronDown size={16} aria-hidden />}>
          More
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {items.map(({ action, label, icon, why }) => (
          <Menu.Item key={action} leftSection={icon} disabled={why !== null} onClick={() => onAction(action)}>
            {label}
            {why === null ? null : (
              <Text size="xs" c="dimmed">
                {why}
              </Text>
            )}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
