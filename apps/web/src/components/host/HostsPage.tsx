'use client';

import { Button, Group, Pagination, SegmentedControl, Select, Stack, TextInput } from '@mantine/core';
import { useDebouncedValue, useMediaQuery } from '@mantine/hooks';
import { IconSearch } from '@tabler/icons-react';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { MOST_DRAWN } from '../../lib/fleet-map.ts';
import { useTRPC } from '../../lib/trpc.ts';
import { Empty, Failed, PageTitle, Section, SkeletonRows } from '../display/Blocks.tsx';
import { AddHost } from './fleet/AddHost.tsx';
import { FleetMap } from './FleetMap.tsx';
import { FleetSummary } from './FleetSummary.tsx';
import { HostCard } from './HostCard.tsx';
import { HostTable, type HostQuery } from './HostTable.tsx';
import { acceleratorNames } from './Meter.tsx';
import { TransferList, useTransfers } from './Transfers.tsx';

const PAGE_SIZE = 50;
const begin: HostQuery = { sort: 'name', descending: false, page: 1, pageSize: PAGE_SIZE };
const states = [
  { value: 'online', label: 'Online' },
  { value: 'problem', label: 'Needs attention' },
  { value: 'silent', label: 'Not heard from' },
] as const;
const accelerators = (['kvm', 'tcg', 'simulated'] as const).map((value) => ({
  value,
  label: acceleratorNames[value],
}));

/** Are the machines well, is there room, and what is on its way between them? */
export function HostsPage() {
  const trpc = useTRPC();
  const narrow = useMediaQuery('(max-width: 48em)', false);
  const [query, setQuery] = useState<HostQuery>(begin);
  const [typed, setTyped] = useState('');
  const [search] = useDebouncedValue(typed, 200);
  const [view, setView] = useState<'list' | 'map'>('list');
  const { data, error, refetch, isPlaceholderData } = useQuery({
    ...trpc.host.page.queryOptions({ ...query, search }),
    refetchInterval: 15_000,
    placeholderData: keepPreviousData,
  });
  const moving = useTransfers();
  const transfers = moving.data?.transfers ?? [];
  const change = (part: HostQuery): void => setQuery((old) => ({ ...old, page: 1, ...part }));
  const filtered = search !== '' || Boolean(query.state) || Boolean(query.accelerator);
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
              <TextInput
                data-page-search
                value={typed}
                onChange={(event) => {
                  setTyped(event.currentTarget.value);
                  change({});
                }}
                placeholder="Name"
                aria-label="Search hosts"
                leftSection={<IconSearch size={15} aria-hidden />}
                w={{ base: '100%', xs: 220 }}
              />
              <Select
                aria-label="State"
                placeholder="Any state"
                clearable
                w={170}
                data={[...states]}
                value={query.state ?? null}
                onChange={(value) =>
                  change({ state: states.find((state) => state.value === value)?.value ?? null })
                }
              />
              <Select
                aria-label="Accelerator"
                placeholder="Any accelerator"
                clearable
                w={160}
                data={accelerators}
                value={query.accelerator ?? null}
                onChange={(value) =>
                  change({
                    accelerator: accelerators.find((each) => each.value === value)?.value ?? null,
                  })
                }
              />
            </Group>
            <SegmentedControl
              aria-label="Show as"
              value={view}
              onChange={(value) => setView(value === 'map' ? 'map' : 'list')}
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
                onClick={() => {
                  setTyped('');
                  setQuery(begin);
                }}
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
          <HostTable
            hosts={data.hosts}
            query={query}
            onQuery={(part) => setQuery((old) => ({ ...old, ...part }))}
            fetching={isPlaceholderData}
          />
        )}
        {view === 'list' && data.total > PAGE_SIZE ? (
          <Group justify="center">
            <Pagination
              size="sm"
              value={query.page ?? 1}
              onChange={(page) => setQuery((old) => ({ ...old, page }))}
              total={Math.ceil(data.total / PAGE_SIZE)}
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
