import { Box, Group, SimpleGrid, Stack, Text } from '@mantine/core';
import Link from 'next/link';
import { count } from '../../lib/format.ts';
import type { HostView } from '../../server/views/host.ts';
import { HostStateLabel } from '../display/State.tsx';
import { Ago, Simulated } from '../display/Text.tsx';
import { DutyNote } from './fleet/DutyNote.tsx';
import { fillsOf, Meter } from './Meter.tsx';

/** One host in a list: is it well, how full is it. */
export function HostCard({ host }: { host: HostView }) {
  const fills = fillsOf(host);
  return (
    <Box className="panel" p="md">
      <Stack gap="sm">
        <Group justify="space-between" gap="xs">
          <Group gap="sm">
            <Link className="thing" href={`/hosts/${host.id}`}>
              {host.name}
            </Link>
            <Text size="sm" component="span">
              <HostStateLabel state={host.state} />
            </Text>
            {host.simulated ? <Simulated /> : null}
          </Group>
          <Text size="sm" c="dimmed" className="num">
            {count(host.guests.total, 'guest')}, {host.guests.running} running
          </Text>
        </Group>
        {host.state === 'silent' ? (
          <Text size="sm">
            Its worker was last heard from <Ago at={host.lastSeenAt} />. Operations wait until it is back.
          </Text>
        ) : null}
        <DutyNote host={host} />
        {host.problem === null ? null : <Text size="sm">{host.problem}</Text>}
        {fills ? (
          <SimpleGrid cols={{ base: 1, sm: 3 }} spacing="lg">
            {fills.map((fill) => (
              <Meter key={fill.name} fill={fill} />
            ))}
          </SimpleGrid>
        ) : null}
      </Stack>
    </Box>
  );
}
