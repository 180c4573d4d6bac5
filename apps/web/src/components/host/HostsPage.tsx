'use client';

import { Button, Group, Pagination, SegmentedControl, Select, Stack } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useSearchParams } from 'next/navigation';
import { changeAddress, oneOf } from '../../lib/address.ts';
import { MOST_DRAWN } from '../../lib/fleet-map.ts';
import {
  hostAccelerators,
  hostAddressOf,
  hostQueryOf,
  HOSTS_A_PAGE,
  hostStates,
  type HostQuery,
} from '../../lib/host-query.ts';
import { useTRPC } from '../../lib/trpc.ts';
import { Empty, Failed, PageTitle, Section, SkeletonRows } from '../display/Blocks.tsx';
import { SearchField } from '../display/SearchField.tsx';
import { AddHost } from './fleet/AddHost.tsx';
import { FleetMap } from './FleetMap.tsx';
import { FleetSummary } from './FleetSummary.tsx';
import { HostCard } from './HostCard.tsx';
import { HostTable } from './HostTable.tsx';
import { acceleratorNames } from './Meter.tsx';
import { TransferList, useTransfers } from './Transfers.tsx';

const stateWords = { online: 'Online', problem: 'Needs attention', silent: 'Not heard from' } as const;
const states = hostStates.map((value) => ({ value, label: stateWords[value] }));
const accelerators = hostAccelerators.map((value) => ({ value, label: acceleratorNames[value] }));

/** Are the machines well, is there room, and what is on its way between them? */
export function HostsPage() {
  const trpc = useTRPC();
  const narrow = useMediaQuery('(max-width: 48em)', false);
  const params = new URLSearchParams(useSearchParams());
  const query = hostQueryOf(params);
  const view = params.get('view') === 'map' ? 'map' : 'list';
  const { data, error, refetch, isPlaceholderData } = useQuery({
    ...trpc.host.page.queryOptions(query),
    refetchInterval: 15_000,
    placeholderData: keepPreviousData,
  });
  const moving = useTransfers();
  const transfers = moving.data?.transfers ?? [];
  const change = (part: HostQuery): void => changeAddress(hostAddressOf({ page: 1, ...part }));
  const filtered = query.search !== '' || Boolean(query.state) || Boolean(query.accelerator);
  const title = (
    <PageTitle title="Hosts">
      <AddHost />
    </PageTitle>
  );
  if (error && !data)
    return (
      <>
        {title}
        <Failed error={error} retry={() => void refetch()} />
      </>
    );
  if (!data)
    return (
      <>
        {title}
        <Stack gap="md">
          <SkeletonRows rows={1} height={74} />
          <SkeletonRows rows={8} height={45} />
        </Stack>
      </>
    );
  if (data.fleet.hosts === 0)
    return (
      <>
        {title}
        <Empty title="No host has reported yet">
          A host shows here as soon as its worker runs. The start tool starts one for this machine.
        </Empty>
      </>
    );
  const many = data.fleet.hosts > 1;
  return (
    <>
      {title}
      <Stack gap="md" mb="xl">
        {many ? <FleetSummary fleet={data.fleet} /> : null}
        {many ? (
          <Group gap="xs" justify="space-between">
            <Group gap="xs">
              <SearchField
                label="Search hosts"
                placeholder="Name"
                value={query.search ?? ''}
                onChange={(search) => change({ search })}
                w={{ base: '100%', xs: 220 }}
              />
              <Select
                aria-label="State"
                placeholder="Any state"
                clearable
                w={170}
                data={states}
                value={query.state ?? null}
                onChange={(value) => change({ state: oneOf(hostStates, value) })}
              />
              <Select
                aria-label="Accelerator"
                placeholder="Any accelerator"
                clearable
                w={160}
                data={accelerators}
                value={query.accelerator ?? null}
                onChange={(value) => change({ accelerator: oneOf(hostAccelerators, value) })}
              />
            </Group>
            <SegmentedControl
              aria-label="Show as"
              value={view}
              onChange={(value) => changeAddress({ view: value === 'map' ? value : null })}
              data={[
                { value: 'list', label: 'List' },
                { value: 'map', label: 'Map' },
              ]}
            />
          </Group>
        ) : null}
        {data.total === 0 && filtered ? (
          <Empty
            title="No host is like that"
            action={
              <Button
                variant="default"
                onClick={() => change({ search: '', state: null, accelerator: null })}
              >
                Show all
              </Button>
            }
          >
            Nothing matches the search and filters above.
          </Empty>
        ) : view === 'map' && many ? (
          data.fleet.hosts > MOST_DRAWN && transfers.length === 0 ? (
            <Empty title="Nothing is on its way">
              Of more than {MOST_DRAWN} hosts the map draws those that give or get a template just now.
            </Empty>
          ) : (
            <FleetMap hosts={data.hosts} total={data.fleet.hosts} transfers={transfers} />
          )
        ) : narrow || !many ? (
          <Stack gap="sm">
            {data.hosts.map((host) => (
              <HostCard key={host.id} host={host} />
            ))}
          </Stack>
        ) : (
          <HostTable hosts={data.hosts} query={query} onQuery={change} fetching={isPlaceholderData} />
        )}
        {view === 'list' && data.total > HOSTS_A_PAGE ? (
          <Group justify="center">
            <Pagination
              size="sm"
              value={query.page ?? 1}
              onChange={(page) => change({ page })}
              total={Math.ceil(data.total / HOSTS_A_PAGE)}
              getControlProps={(control) => ({ 'aria-label': `${control} page` })}
            />
          </Group>
        ) : null}
      </Stack>
      {transfers.length === 0 ? null : (
        <Section title={`On its way (${transfers.length}${moving.data?.truncated ? '+' : ''})`}>
          <TransferList transfers={transfers} />
        </Section>
      )}
    </>
  );
}
