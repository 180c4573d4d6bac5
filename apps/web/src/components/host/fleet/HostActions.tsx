'use client';

import { Button, Menu, Modal, Text } from '@mantine/core';
import {
  IconChevronDown,
  IconKeyOff,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlugConnected,
  IconTool,
  IconTrash,
} from '@tabler/icons-react';
import { useState } from 'react';
import type { HostView } from '../../../server/views/host.ts';
import { DutyForm } from './DutyForm.tsx';
import { JoinAgain } from './JoinAgain.tsx';
import { RemoveForm } from './RemoveForm.tsx';
import { RevokeForm } from './RevokeForm.tsx';

type Action = 'serving' | 'draining' | 'maintenance' | 'again' | 'revoke' | 'remove';

const titles: Readonly<Record<Action, (name: string) => string>> = {
  serving: (name) => `Let ${name} serve again?`,
  draining: (name) => `Drain ${name}?`,
  maintenance: (name) => `Put ${name} into maintenance?`,
  again: (name) => `Join ${name} again`,
  revoke: (name) => `Revoke the credential of ${name}?`,
  remove: (name) => `Remove ${name}?`,
};

/** What is done to a host itself. */
export function HostActions({ host }: { host: HostView }) {
  const [action, setAction] = useState<Action | null>(null);
  const onDone = (): void => setAction(null);
  return (
    <>
      <Menu position="bottom-end" width={300} withinPortal>
        <Menu.Target>
          <Button size="sm" variant="default" rightSection={<IconChevronDown size={16} aria-hidden />}>
            Manage
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {host.duty === 'serving' ? null : (
            <Menu.Item
              leftSection={<IconPlayerPlay size={16} aria-hidden />}
              onClick={() => setAction('serving')}
            >
              Serve again
            </Menu.Item>
          )}
          {host.duty === 'draining' ? null : (
            <Menu.Item
              leftSection={<IconPlayerPause size={16} aria-hidden />}
              onClick={() => setAction('draining')}
            >
              Drain
            </Menu.Item>
          )}
          {host.duty === 'maintenance' ? null : (
            <Menu.Item
              leftSection={<IconTool size={16} aria-hidden />}
              onClick={() => setAction('maintenance')}
            >
              Maintenance
            </Menu.Item>
          )}
          <Menu.Divider />
          <Menu.Item
            leftSection={<IconPlugConnected size={16} aria-hidden />}
            disabled={host.joined}
            onClick={() => setAction('again')}
          >
            Join again
            {host.joined ? (
              <Text size="xs" c="dimmed">
                Its worker has a credential. Revoke that first.
              </Text>
            ) : null}
          </Menu.Item>
          <Menu.Item
            leftSection={<IconKeyOff size={16} aria-hidden />}
            disabled={!host.joined}
            onClick={() => setAction('revoke')}
          >
            Revoke its credential
            {host.joined ? null : (
              <Text size="xs" c="dimmed">
                It has none: its worker signs in as the portal, or was revoked.
              </Text>
            )}
          </Menu.Item>
          <Menu.Item leftSection={<IconTrash size={16} aria-hidden />} onClick={() => setAction('remove')}>
            Remove
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Modal
        opened={action !== null}
        onClose={onDone}
        title={action === null ? '' : titles[action](host.name)}
        centered
        radius="md"
        size={action === 'again' ? 'lg' : 'md'}
      >
        {action === 'serving' || action === 'draining' || action === 'maintenance' ? (
          <DutyForm host={host} duty={action} onDone={onDone} />
        ) : null}
        {action === 'again' ? <JoinAgain host={host} onDone={onDone} /> : null}
        {action === 'revoke' ? <RevokeForm host={host} onDone={onDone} /> : null}
        {action === 'remove' ? <RemoveForm host={host} onDone={onDone} /> : null}
      </Modal>
    </>
  );
}
