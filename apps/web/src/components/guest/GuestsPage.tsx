'use client';

import { Box, Button, Group, Pagination, Select, Text, TextInput } from '@mantine/core';
import { useDebouncedValue, useMediaQuery } from '@mantine/hooks';
import { cloneModes, guestStates } from '@offshoot/clone-core/contract';
import { IconPlayerPlay, IconPlayerStop, IconSearch, IconTrash } from '@tabler/icons-react';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { useState } from 'react';
import { count } from '../../lib/format.ts';
import { useTRPC, type Inputs } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Empty, Failed, PageTitle, SkeletonRows } from '../display/Blocks.tsx';
import { guestStateWord } from '../display/State.tsx';
import { IdentityAlarms } from '../identity/Alarms.tsx';
import { ActionDialog, type Action } from './actions.tsx';
import { GuestCards } from './GuestCards.tsx';
import { GuestTable } from './GuestTable.tsx';
import classes from './guests.module.css';

export const PAGE_SIZE = 50;
export type GuestQuery = Exclude<Inputs['guest']['list'], void>;
const modes = [
  { value: 'linked', label: 'Linked' },
  { value: 'full', label: 'Full' },
  { value: 'memory', label: 'With memory' },
  { value: 'found', label: 'Not a clone' },
  { value: 'foreign', label: 'Not made by Offshoot' },
];

const pageWords = {
  first: 'First page',
  last: 'Last page',
  next: 'Next page',
  previous: 'Previous page',
} as const;

/** Where is mine, and how do I get in? */
export function GuestsPage({ initialHost }: { initialHost: string | null }) {
  const trpc = useTRPC();
  const narrow = useMediaQuery('(max-width: 48em)', false);
  const [query, setQuery] = useState<GuestQuery>({
    sort: 'name',
    descending: false,
    page: 1,
    pageSize: PAGE_SIZE,
    hostId: initialHost,
  });
  const [typed, setTyped] = useState('');
  const [search] = useDebouncedValue(typed, 200);
  const [selected, setSelected] = useState<GuestView[]>([]);
  const [action, setAction] = useState<Action | null>(null);
  const hosts = useQuery(trpc.host.names.queryOptions());
  const owners = useQuery(trpc.guest.owners.queryOptions());
  const guests = useQuery({
    ...trpc.guest.list.queryOptions({ ...query, search }),
    placeholderData: keepPreviousData,
  });
  const change = (part: GuestQuery): void => setQuery((old) => ({ ...old, page: 1, ...part }));
  const filtered = search !== '' || query.state || query.hostId || query.mode || query.ownerId;
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
          </Text>
        }
      />
      <IdentityAlarms />
      <Box className={classes['filters'] ?? ''} mb="sm">
        <TextInput
          data-page-search
          value={typed}
          onChange={(event) => {
            setTyped(event.currentTarget.value);
            change({});
          }}
          placeholder="Name, address or MAC"
          aria-label="Search guests"
          leftSection={<IconSearch size={15} aria-hidden />}
        />
        <Select
          aria-label="State"
          placeholder="Any state"
          clearable
          data={guestStates.map((state) => ({ value: state, label: guestStateWord(state) }))}
          value={query.state ?? null}
          onChange={(value) => change({ state: guestStates.find((state) => state === value) ?? null })}
        />
        <Select
          aria-label="Kind"
          placeholder="Any kind"
          clearable
          data={modes}
          value={query.mode ?? null}
          onChange={(value) =>
            change({
              mode:
                [...cloneModes, 'found' as const, 'foreign' as const].find((mode) => mode === value) ?? null,
            })
          }
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
                onClick={() => {
                  setTyped('');
                  setQuery({ sort: 'name', descending: false, page: 1, pageSize: PAGE_SIZE });
                }}
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
          {data.total > PAGE_SIZE ? (
            <Group justify="center" mt="md">
              <Pagination
                size="sm"
                siblings={0}
                total={Math.ceil(data.total / PAGE_SIZE)}
                value={query.page ?? 1}
                onChange={(page) => {
                  setQuery((old) => ({ ...old, page }));
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
          onQuery={(part) => setQuery((old) => ({ ...old, ...part }))}
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
