'use client';

import { Box, Group, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { formatBytes } from '../../lib/format.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { HostView } from '../../server/views/host.ts';
import { Empty, Failed, Section, SkeletonRows } from '../display/Blocks.tsx';
import { GuestStateLabel } from '../display/State.tsx';
import { modeWord } from '../guest/GuestTable.tsx';
import classes from './host.module.css';

const SHOWN = 12;

/** What lives here: the first of them, and the way to all. */
export function HostGuests({ host }: { host: HostView }) {
  const trpc = useTRPC();
  const { data, error, refetch } = useQuery(
    trpc.guest.list.queryOptions({ hostId: host.id, pageSize: SHOWN, sort: 'name' }),
  );
  return (
    <Section
      title={`Guests (${host.guests.total})`}
      aside={
        host.guests.total > SHOWN ? (
          <Link href={`/guests?host=${host.id}`} style={{ fontSize: 14 }}>
            All {host.guests.total}
          </Link>
        ) : undefined
      }
    >
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : !data ? (
        <SkeletonRows rows={4} height={41} />
      ) : data.guests.length === 0 ? (
        <Empty title="No guests here">
          Clones made on this host, and guests made on it by others, show here.
        </Empty>
      ) : (
        <Box className="panel">
          {data.guests.map((guest) => (
            <Box key={guest.id} className={`row ${classes['guest'] ?? ''}`}>
              <Link className="thing" href={`/guests/${guest.id}`} style={{ fontSize: 14 }}>
                {guest.name}
              </Link>
              <Text size="sm" component="span">
                <GuestStateLabel state={guest.state} />
              </Text>
              <Text size="sm" c="dimmed" visibleFrom="sm">
                {modeWord(guest)}
              </Text>
              <Group justify="flex-end">
                <Text size="sm" c="dimmed" className="num">
                  {guest.usedBytes === null ? '–' : formatBytes(guest.usedBytes)}
                </Text>
              </Group>
            </Box>
          ))}
        </Box>
      )}
    </Section>
  );
}
