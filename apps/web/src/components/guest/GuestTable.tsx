'use client';

import { DataTable, type DataTableColumn, type DataTableSortStatus } from 'mantine-datatable';
import Link from 'next/link';
import { useRouter } from 'next/navigation';
import type { KeyboardEvent } from 'react';
import type { CloneMode } from '@offshoot/clone-core/contract';
import { oneOf } from '../../lib/address.ts';
import { formatBytes } from '../../lib/format.ts';
import { GUESTS_A_PAGE, guestSorts, type GuestQuery } from '../../lib/guest-query.ts';
import { onRowKey } from '../../lib/row-keys.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { GuestStateLabel } from '../display/State.tsx';
import { Ago, Copyable, Quiet, Simulated } from '../display/Text.tsx';
import { Marks } from './Marks.tsx';
import { SourceLink } from './SourceLink.tsx';

interface Props {
  guests: GuestView[];
  total: number;
  query: GuestQuery;
  onQuery: (part: GuestQuery) => void;
  selected: GuestView[];
  onSelect: (guests: GuestView[]) => void;
  fetching: boolean;
}

const columns: DataTableColumn<GuestView>[] = [
  {
    accessor: 'name',
    title: 'Name',
    sortable: true,
    render: (guest) => (
      <span style={{ display: 'inline-flex', flexWrap: 'wrap', columnGap: 8, alignItems: 'center' }}>
        <Link className="thing" href={`/guests/${guest.id}`}>
          {guest.name}
        </Link>
        {guest.host.simulated ? <Simulated /> : null}
        <Marks guest={guest} />
      </span>
    ),
  },
  {
    accessor: 'state',
    title: 'State',
    sortable: true,
    width: 150,
    render: (guest) => <GuestStateLabel state={guest.state} />,
  },
  {
    accessor: 'address',
    title: 'Address',
    sortable: true,
    width: 170,
    render: (guest) => (guest.address === null ? <Quiet>–</Quiet> : <Copyable value={guest.address} />),
  },
  { accessor: 'source', title: 'Source', render: (guest) => <SourceLink source={guest.source} /> },
  { accessor: 'mode', title: 'Kind', width: 90, render: (guest) => modeWord(guest) },
  {
    accessor: 'host',
    title: 'Host',
    width: 120,
    render: (guest) => (
      <Link className="thing" style={{ fontWeight: 400 }} href={`/hosts/${guest.host.id}`}>
        {guest.host.name}
      </Link>
    ),
  },
  {
    accessor: 'usedBytes',
    title: 'Uses',
    sortable: true,
    textAlign: 'right',
    width: 110,
    render: (guest) => (
      <span className="num">{guest.usedBytes === null ? '–' : formatBytes(guest.usedBytes)}</span>
    ),
  },
  {
    accessor: 'createdAt',
    title: 'Made',
    sortable: true,
    textAlign: 'right',
    width: 120,
    render: (guest) => <Ago at={guest.createdAt} />,
  },
];

const modeWords: Readonly<Record<CloneMode, string>> = {
  full: 'Full',
  linked: 'Linked',
  memory: 'With memory',
};

export const modeWord = (guest: Pick<GuestView, 'mode' | 'managed' | 'adopted'>): string =>
  guest.mode === null
    ? guest.adopted
      ? 'Adopted'
      : guest.managed
        ? 'Made'
        : 'Not ours'
    : modeWords[guest.mode];

/** Arrows move, space selects, enter opens. */
export function GuestTable({ guests, total, query, onQuery, selected, onSelect, fetching }: Props) {
  const router = useRouter();
  const sortStatus: DataTableSortStatus<GuestView> = {
    columnAccessor: query.sort ?? 'name',
    direction: query.descending ? 'desc' : 'asc',
  };
  const toggle = (guest: GuestView): void =>
    onSelect(
      selected.some(({ id }) => id === guest.id)
        ? selected.filter(({ id }) => id !== guest.id)
        : [...selected, guest],
    );
  return (
    <DataTable
      records={guests}
      columns={columns}
      idAccessor="id"
      withTableBorder
      borderRadius="md"
      verticalSpacing={9}
      highlightOnHover
      minHeight={180}
      borderColor="var(--line)"
      rowBorderColor="var(--line)"
      fetching={fetching}
      loaderBackgroundBlur={0}
      sortStatus={sortStatus}
      onSortStatusChange={({ columnAccessor, direction }) =>
        onQuery({
          sort: oneOf(guestSorts, String(columnAccessor)) ?? 'name',
          descending: direction === 'desc',
          page: 1,
        })
      }
      selectedRecords={selected}
      onSelectedRecordsChange={onSelect}
      getRecordSelectionCheckboxProps={(guest) => ({ 'aria-label': `Select ${guest.name}` })}
      allRecordsSelectionCheckboxProps={{ 'aria-label': 'Select all on this page' }}
      customRowAttributes={(guest) => ({
        tabIndex: 0,
        onKeyDown: (event: KeyboardEvent<HTMLTableRowElement>) =>
          onRowKey(event, { ' ': () => toggle(guest), Enter: () => router.push(`/guests/${guest.id}`) }),
      })}
      page={query.page ?? 1}
      onPageChange={(page) => onQuery({ page })}
      totalRecords={total}
      recordsPerPage={query.pageSize ?? GUESTS_A_PAGE}
    />
  );
}
