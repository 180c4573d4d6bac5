'use client';

import { Stack } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTRPC } from '../../lib/trpc.ts';
import { Empty, Failed, PageTitle, SkeletonRows } from '../display/Blocks.tsx';
import { AddHost } from './fleet/AddHost.tsx';
import { HostCard } from './HostCard.tsx';

/** Are the machines well, and is there room? */
export function HostsPage() {
  const trpc = useTRPC();
  const { data, error, refetch } = useQuery({ ...trpc.host.list.queryOptions(), refetchInterval: 15_000 });
  return (
    <>
      <PageTitle title="Hosts">
        <AddHost />
      </PageTitle>
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : !data ? (
        <SkeletonRows rows={2} height={124} />
      ) : data.length === 0 ? (
        <Empty title="No host has reported yet">
          A host shows here as soon as its worker runs. The start tool starts one for this machine.
        </Empty>
      ) : (
        <Stack gap="sm">
          {data.map((host) => (
            <HostCard key={host.id} host={host} />
          ))}
        </Stack>
      )}
    </>
  );
}
