'use client';

import { Text } from '@mantine/core';
import { DataTable, type DataTableColumn } from 'mantine-datatable';
import Link from 'next/link';
import { useRouter } from 'next/navigation';
import type { KeyboardEvent } from 'react';
import { oneOf } from '../../lib/address.ts';
import { hostSorts, type HostQuery } from '../../lib/host-query.ts';
import { onRowKey } from '../../lib/row-keys.ts';
import type { HostView } from '../../server/views/host.ts';
import { HostStateLabel } from '../display/State.tsx';
import { Ago, Quiet, Simulated } from '../display/Text.tsx';
import { acceleratorNames, fillsOf, SmallMeter } from './Meter.tsx';

const meter = (index: number) =>
  function MeterCell(host: HostView) {
    const fill = fillsOf(host)?.[index];
    return fill ? <SmallMeter fill={fill} /> : <Quiet>–</Quiet>;
  };

const columns: DataTableColumn<HostView>[] = [
  {
    accessor: 'name',
    title: 'Name',
    sortable: true,
    render: (host) => (
      <>
        <span style={{ display: 'inline-flex', gap: 8, alignItems: 'center' }}>
          <Link className="thing" href={`/hosts/${host.id}`}>
            {host.name}
          </Link>
          {host.simulated ? <Simulated /> : null}
        </span>
        {host.problem === null ? null : (
          <Text size="xs" c="dimmed" lineClamp={2}>
            {host.problem}
          </Text>
        )}
      </>
    ),
  },
  {
    accessor: 'state',
    title: 'State',
    sortable: true,
    width: 170,
    render: (host) => (
      <>
        <HostStateLabel state={host.state} />
        {host.state === 'silent' ? (
          <Text size="xs" c="dimmed">
            last heard <Ago at={host.lastSeenAt} />
          </Text>
        ) : null}
        {host.duty === 'serving' ? null : (
          <Text size="xs" c="dimmed">
            {host.duty === 'draining' ? 'drained: no new work' : 'in maintenance'}
          </Text>
        )}
      </>
    ),
  },
  { accessor: 'load', title: 'Processors', sortable: true, width: 130, render: meter(0) },
  { accessor: 'memory', title: 'Memory', sortable: true, width: 130, render: meter(1) },
  { accessor: 'storage', title: 'Storage', sortable: true, width: 130, render: meter(2) },
  {
    accessor: 'guests',
    title: 'Guests',
    sortable: true,
    textAlign: 'right',
    width: 140,
    render: ({ guests }) => (
      <span className="num">
        {guests.total} {guests.total === 0 ? null : <Quiet>· {guests.running} running</Quiet>}
      </span>
    ),
  },
  {
    accessor: 'accelerator',
    title: 'Accelerator',
    width: 110,
    render: ({ facts }) => (facts ? acceleratorNames[facts.accelerator.name] : <Quiet>–</Quiet>),
  },
  {
    accessor: 'workerVersion',
    title: 'Worker',
    width: 90,
    render: ({ workerVersion, otherVersion }) =>
      workerVersion === null ? (
        <Quiet>–</Quiet>
      ) : (
        <span title={otherVersion ? 'Another version than the portal’s; it is served.' : undefined}>
          {workerVersion}
          {otherVersion ? ' (other)' : ''}
        </span>
      ),
  },
];

/** Arrows move, enter opens. */
export function HostTable({
  hosts,
  query,
  onQuery,
  fetching,
}: {
  hosts: HostView[];
  query: HostQuery;
  onQuery: (part: HostQuery) => void;
  fetching: boolean;
}) {
  const router = useRouter();
  return (
    <DataTable
      records={hosts}
      columns={columns}
      idAccessor="id"
      withTableBorder
      borderRadius="md"
      verticalSpacing={9}
      highlightOnHover
      borderColor="var(--line)"
      rowBorderColor="var(--line)"
      fetching={fetching}
      loaderBackgroundBlur={0}
      sortStatus={{ columnAccessor: query.sort ?? 'name', direction: query.descending ? 'desc' : 'asc' }}
      onSortStatusChange={({ columnAccessor, direction }) =>
        onQuery({
          sort: oneOf(hostSorts, String(columnAccessor)) ?? 'name',
          descending: direction === 'desc',
          page: 1,
        })
      }
      customRowAttributes={(host) => ({
        tabIndex: 0,
        onKeyDown: (event: KeyboardEvent<HTMLTableRowElement>) =>
          onRowKey(event, { Enter: () => router.push(`/hosts/${host.id}`) }),
      })}
    />
  );
}
