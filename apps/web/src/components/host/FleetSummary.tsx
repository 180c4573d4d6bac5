import { Box, Group, Text } from '@mantine/core';
import Link from 'next/link';
import { count } from '../../lib/format.ts';
import type { FleetSums } from '../../server/hosts/list.ts';
import { HostStateCount } from '../display/State.tsx';
import classes from './host.module.css';
import { fleetFills, Meter } from './Meter.tsx';

/** The fleet at a glance: who is well, and what room there is. */
export function FleetSummary({ fleet }: { fleet: FleetSums }) {
  const states = (['online', 'problem', 'silent'] as const).filter((state) => fleet[state] > 0);
  return (
    <Box className={`panel ${classes['summary'] ?? ''}`}>
      <Box>
        <Group justify="space-between" gap="xs" mb={4}>
          <Text size="sm">{count(fleet.hosts, 'host')}</Text>
          <Text size="sm" c="dimmed" className="num">
            {fleet.running} of {count(fleet.guests, 'guest')} running
          </Text>
        </Group>
        <Group gap="2px 14px">
          {states.map((state) => (
            <Text key={state} size="sm" component="span" className="num">
              {state === 'online' ? (
                <HostStateCount state={state} number={fleet[state]} />
              ) : (
                <Link href={`/hosts?state=${state}`} className="thing" style={{ fontWeight: 400 }}>
                  <HostStateCount state={state} number={fleet[state]} />
                </Link>
              )}
            </Text>
          ))}
        </Group>
      </Box>
      {fleetFills(fleet).map((fill) => (
        <Meter key={fill.name} fill={fill} />
      ))}
    </Box>
  );
}
