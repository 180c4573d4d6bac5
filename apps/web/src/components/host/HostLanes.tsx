'use client';

import { Box, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTRPC } from '../../lib/trpc.ts';
import classes from './host.module.css';

const lanes = [
  { lane: 'interactive', name: 'Quick lane', about: 'what takes seconds' },
  { lane: 'bulk', name: 'Copy lane', about: 'what moves gigabytes' },
] as const;

/** What runs and what waits, per lane: a long copy never holds up a start. */
export function HostLanes({ hostId }: { hostId: string }) {
  const trpc = useTRPC();
  const { data, isPending } = useQuery({
    ...trpc.host.lanes.queryOptions({ id: hostId }),
    refetchInterval: 5000,
  });
  return (
    <Box className={`panel ${classes['lanes'] ?? ''}`}>
      {lanes.map(({ lane, name, about }) => (
        <div key={lane} className={classes['lane']}>
          <Text size="sm">
            {name}{' '}
            <Text span size="xs" c="dimmed">
              {about}
            </Text>
          </Text>
          <Text size="sm" c="dimmed" className="num">
            {data
              ? `${data[lane].active} running, ${data[lane].waiting} waiting`
              : isPending
                ? '\u00a0'
                : 'not known: Redis does not answer'}
          </Text>
        </div>
      ))}
    </Box>
  );
}
