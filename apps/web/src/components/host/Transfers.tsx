'use client';

import { Box, Group, Progress, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { formatLeft, formatProgress, formatRate } from '../../lib/format.ts';
import { stateWords } from '../../lib/operation.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { HostRef, TransferView } from '../../server/hosts/transfers.ts';
import { operationTone, toneColor } from '../display/State.tsx';
import classes from './host.module.css';

/** While something is on its way, its numbers are asked for this often, milliseconds. */
const LOOK_MS = 1000;

/** What is on its way between hosts now: of one host, or of all. */
export function useTransfers(hostId?: string) {
  const trpc = useTRPC();
  return useQuery({
    ...trpc.host.transfers.queryOptions(hostId === undefined ? {} : { id: hostId }),
    refetchInterval: ({ state }) => ((state.data?.transfers.length ?? 0) > 0 ? LOOK_MS : false),
  });
}

/** "1.1 / 1.5 GiB · 110 MiB/s · 4 s left" */
export function hopWords(transfer: TransferView): string {
  if (transfer.state !== 'running') return stateWords[transfer.state];
  return [
    transfer.totalBytes > 0 ? formatProgress(transfer.doneBytes, transfer.totalBytes) : 'Beginning',
    transfer.rate === null ? '' : formatRate(transfer.rate),
    transfer.secondsLeft === null ? '' : `${formatLeft(transfer.secondsLeft)} left`,
    transfer.note ?? '',
  ]
    .filter(Boolean)
    .join(' · ');
}

const Name = ({ host }: { host: HostRef | null }) =>
  host === null ? <>a host that is gone</> : <Link href={`/hosts/${host.id}`}>{host.name}</Link>;

/** One line a hop. */
export function TransferList({ transfers }: { transfers: readonly TransferView[] }) {
  return (
    <Box className="panel">
      {transfers.map((transfer) => (
        <Box key={transfer.operationId} className={`row ${classes['transfer'] ?? ''}`}>
          <Group gap={8} wrap="wrap">
            <Link className="thing" href={`/operations/${transfer.operationId}`} style={{ fontSize: 14 }}>
              {transfer.label}
            </Link>
            <Text size="sm" component="span">
              <Name host={transfer.from} /> → <Name host={transfer.to} />
            </Text>
          </Group>
          <Progress
            value={transfer.totalBytes === 0 ? 0 : (transfer.doneBytes / transfer.totalBytes) * 100}
            size={6}
            color={toneColor(operationTone(transfer.state))}
            aria-label={`${transfer.label} to ${transfer.to.name}`}
          />
          <Text size="xs" c="dimmed" className="num">
            {hopWords(transfer)}
          </Text>
        </Box>
      ))}
    </Box>
  );
}
