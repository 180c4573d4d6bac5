'use client';

import { Box, Button, CopyButton, Group, Stack, Tabs, Text } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { formatExact } from '../../../lib/format.ts';
import { oneLine, withContainer, withSystemd } from '../../../lib/joining.ts';
import { useTRPC, type Outputs } from '../../../lib/trpc.ts';
import { HostStateLabel } from '../../display/State.tsx';

type Invitation = Outputs['fleet']['invite'];

/** What to paste on the machine, three ways, and whether it has come. */
export function JoinWays({ invitation, name }: { invitation: Invitation; name: string }) {
  return (
    <Stack gap="md">
      <Tabs defaultValue="line">
        <Tabs.List>
          <Tabs.Tab value="line">One line</Tabs.Tab>
          <Tabs.Tab value="systemd">systemd</Tabs.Tab>
          <Tabs.Tab value="container">Container</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="line" pt="sm">
          <Way
            text={oneLine(invitation)}
            label="Copy the line"
            note="Paste it on the hypervisor. It needs Node 20.19 or newer, libvirt and QEMU. The machine joins and serves for as long as the line runs."
          />
        </Tabs.Panel>
        <Tabs.Panel value="systemd" pt="sm">
          <Way
            text={withSystemd(invitation)}
            label="Copy the lines"
            note="Joins, then installs a unit that serves from every start of the machine on. It needs Node 20.19 or newer, libvirt and QEMU."
          />
        </Tabs.Panel>
        <Tabs.Panel value="container" pt="sm">
          <Way
            text={withContainer(invitation)}
            label="Copy the lines"
            note="In a checkout of this portal’s sources, on the hypervisor. The worker runs in the container, the guests in the machine’s own libvirt."
          />
        </Tabs.Panel>
      </Tabs>
      <Text size="sm" c="dimmed">
        The token in it is good once, until {formatExact(new Date(invitation.expiresAt))}. It is not shown
        again.
      </Text>
      <Arrival hostId={invitation.hostId} name={name} />
    </Stack>
  );
}

function Way({ text, note, label }: { text: string; note: string; label: string }) {
  return (
    <Stack gap="xs">
      <Text size="sm">{note}</Text>
      <Box
        component="pre"
        className="panel mono"
        m={0}
        p="sm"
        tabIndex={0}
        style={{
          fontSize: 12,
          whiteSpace: 'pre-wrap',
          overflowWrap: 'anywhere',
          maxHeight: 220,
          overflowY: 'auto',
        }}
      >
        {text}
      </Box>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Group>
            <Button
              size="xs"
              onClick={copy}
              leftSection={copied ? <IconCheck size={14} aria-hidden /> : <IconCopy size={14} aria-hidden />}
            >
              {copied ? 'Copied' : label}
            </Button>
          </Group>
        )}
      </CopyButton>
    </Stack>
  );
}

function Arrival({ hostId, name }: { hostId: string; name: string }) {
  const trpc = useTRPC();
  const hosts = useQuery({ ...trpc.host.list.queryOptions(), refetchInterval: 2000 });
  const host = hosts.data?.find(({ id }) => id === hostId);
  const here = host?.joined === true && host.state !== 'silent';
  return (
    <Box component="output" display="block" className="panel" px="sm" py="xs">
      {here ? (
        <Group gap="sm">
          <HostStateLabel state={host.state} />
          <Text size="sm">
            <Link className="thing" href={`/hosts/${hostId}`}>
              {host.name}
            </Link>{' '}
            has joined and serves.
          </Text>
        </Group>
      ) : host?.joined === true ? (
        <Text size="sm">{name} has joined. Its worker is starting, or waits to be started.</Text>
      ) : (
        <Text size="sm" c="dimmed">
          Waiting for {name}…
        </Text>
      )}
    </Box>
  );
}
