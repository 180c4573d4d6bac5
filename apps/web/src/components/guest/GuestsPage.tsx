'use client';

import { Box, Button, Group, Pagination, Select, Text } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { guestStates } from '@offshoot/clone-core/contract';
import { IconPlayerPlay, IconPlayerStop, IconTrash } from '@tabler/icons-react';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { useSearchParams } from 'next/navigation';
import { useState } from 'react';
import { changeAddress, oneOf } from '../../lib/address.ts';
import { count } from '../../lib/format.ts';
import {
  guestAddressOf,
  guestKinds,
  guestQueryOf,
  GUESTS_A_PAGE,
  type GuestQuery,
} from '../../lib/guest-query.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Empty, Failed, PageTitle, SkeletonRows } from '../display/Blocks.tsx';
import { SearchField } from '../display/SearchField.tsx';
import { guestStateWord } from '../display/State.tsx';
import { IdentityAlarms } from '../identity/Alarms.tsx';
import { ActionDialog, type Action } from './actions.tsx';
import { GuestCards } from './GuestCards.tsx';
import { GuestTable } from './GuestTable.tsx';
import { ToLookAt } from './ToLookAt.tsx';
import classes from './guests.module.css';

const kinds = [
  { value: 'linked', label: 'Linked' },
  { value: 'full', label: 'Full' },
  { value: 'memory', label: 'With memory' },
  { value: 'found', label: 'Not a clone' },
  { value: 'foreign', label: 'Not made by Offshoot' },
];

/** Among the states to choose from. */
const toLookAt = { value: 'look', label: 'Needs a look' };

const pageWords = {
  first: 'First page',
  last: 'Last page',
  next: 'Next page',
  previous: 'Previous page',
} as const;

/** Where is mine, and how do I get in? */
export function GuestsPage() {
  const trpc = useTRPC();
  const narrow = useMediaQuery('(max-width: 48em)', false);
  const query = guestQueryOf(new URLSearchParams(useSearchParams()));
  const [selected, setSelected] = useState<GuestView[]>([]);
  const [action, setAction] = useState<Action | null>(null);
  const hosts = useQuery(trpc.host.names.queryOptions());
  const owners = useQuery(trpc.guest.owners.queryOptions());
  const guests = useQuery({
    ...trpc.guest.list.queryOptions(query),
    placeholderData: keepPreviousData,
  });
  const change = (part: GuestQuery): void => changeAddress(guestAddressOf({ page: 1, ...part }));
  const filtered =
    query.search !== '' || query.look || query.state || query.hostId || query.mode || query.ownerId;
  const { data } = guests;
  // What is selected lives on as its newest self.
  const fresh = selected.map((old) => data?.guests.find((guest) => guest.id === old.id) ?? old);
  const done = (): void => {
    setAction(null);
    setSelected([]);
  };
  return (
    <>
      <PageTitle
        title="Guests"
        aside={
          <Text c="dimmed" size="sm" className="num">
            {data ? data.total : ''}
            {query.look ? null : <ToLookAt before={data ? ' · ' : ''} />}
          </Text>
        }
      />
      <IdentityAlarms />
      <Box className={classes['filters'] ?? ''} mb="sm">
        <SearchField
          label="Search guests"
          placeholder="Name, address or MAC"
          value={query.search ?? ''}
          onChange={(search) => change({ search })}
        />
        <Select
          aria-label="State"
          placeholder="Any state"
          clearable
          data={[...guestStates.map((state) => ({ value: state, label: guestStateWord(state) })), toLookAt]}
          value={query.look ? toLookAt.value : (query.state ?? null)}
          onChange={(value) => change({ state: oneOf(guestStates, value), look: value === toLookAt.value })}
        />
        <Select
          aria-label="Kind"
          placeholder="Any kind"
          clearable
          data={kinds}
          value={query.mode ?? null}
          onChange={(value) => change({ mode: oneOf(guestKinds, value) })}
        />
        {(hosts.data?.length ?? 0) > 1 ? (
          <Select
            aria-label="Host"
            placeholder="Any host"
            clearable
            searchable={(hosts.data?.length ?? 0) > 10}
            limit={100}
            data={(hosts.data ?? []).map(({ id, name }) => ({ value: id, label: name }))}
            value={query.hostId ?? null}
            onChange={(hostId) => change({ hostId })}
          />
        ) : null}
        {(owners.data?.length ?? 0) > 1 ? (
          <Select
            aria-label="Owner"
            placeholder="Anyone’s"
            clearable
            data={(owners.data ?? []).map(({ id, name }) => ({ value: id, label: name }))}
            value={query.ownerId ?? null}
            onChange={(ownerId) => change({ ownerId })}
          />
        ) : null}
      </Box>
      <SelectionBar selected={fresh} onAction={setAction} onClear={() => setSelected([])} />
      {guests.error && !data ? (
        <Failed error={guests.error} retry={() => void guests.refetch()} />
      ) : !data ? (
        <SkeletonRows rows={8} />
      ) : data.total === 0 ? (
        filtered ? (
          <Empty
            title="No guest is like that"
            action={
              <Button
                variant="default"
                onClick={() =>
                  change({ search: '', state: null, look: false, mode: null, hostId: null, ownerId: null })
                }
              >
                Show all
              </Button>
            }
          >
            Nothing matches the search and filters above.
          </Empty>
        ) : (
          <Empty
            title="No guests yet"
            action={
              <Button component={Link} href="/clone">
                New clone
              </Button>
            }
          >
            A guest is one virtual machine. Clone the sample template to have your first, running in seconds.
          </Empty>
        )
      ) : narrow ? (
        <>
          <GuestCards guests={data.guests} selected={fresh} onSelect={setSelected} />
          {data.total > GUESTS_A_PAGE ? (
            <Group justify="center" mt="md">
              <Pagination
                size="sm"
                siblings={0}
                total={Math.ceil(data.total / GUESTS_A_PAGE)}
                value={query.page ?? 1}
                onChange={(page) => {
                  change({ page });
                  window.scrollTo({ top: 0 });
                }}
                getControlProps={(control) => ({ 'aria-label': pageWords[control] })}
                getItemProps={(page) => ({ 'aria-label': `Page ${page}` })}
              />
            </Group>
          ) : null}
        </>
      ) : (
        <GuestTable
          guests={data.guests}
          total={data.total}
          query={query}
          onQuery={change}
          selected={fresh}
          onSelect={setSelected}
          fetching={guests.isPlaceholderData}
        />
      )}
      <ActionDialog action={action} guests={fresh} onDone={done} />
    </>
  );
}

/** Always there, so that selecting moves nothing; stays in sight, as what is selected may be far down. */
function SelectionBar({
  selected,
  onAction,
  onClear,
}: {
  selected: readonly GuestView[];
  onAction: (action: Action) => void;
  onClear: () => void;
}) {
  const none = selected.length === 0;
  return (
    <Group gap="xs" mb={4} className={classes['selection'] ?? ''}>
      <Box visibleFrom="xs">
        <Text size="sm" c="dimmed" w={92} aria-live="polite">
          {none ? 'Select to act' : count(selected.length, 'guest')}
        </Text>
      </Box>
      <Button
        size="xs"
        variant="default"
        disabled={none}
        leftSection={<IconPlayerPlay size={14} aria-hidden />}
        onClick={() => onAction('start')}
      >
        Start
      </Button>
      <Button
        size="xs"
        variant="default"
        disabled={none}
        leftSection={<IconPlayerStop size={14} aria-hidden />}
        onClick={() => onAction('stop')}
      >
        Stop
      </Button>
      <Button
        size="xs"
        variant="default"
        disabled={none}
        leftSection={<IconTrash size={14} aria-hidden />}
        onClick={() => onAction('delete')}
      >
        Delete
      </Button>
      {none ? null : (
        <Button size="xs" variant="subtle" color="gray" onClick={onClear}>
          Clear
        </Button>
      )}
    </Group>
  );
}
