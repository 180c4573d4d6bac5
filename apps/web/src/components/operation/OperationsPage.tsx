'use client';

import { Button, Group, SegmentedControl, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconSearch } from '@tabler/icons-react';
import Link from 'next/link';
import { useState } from 'react';
import { Empty, PageTitle } from '../display/Blocks.tsx';
import { OperationList } from './OperationList.tsx';

const shows = ['all', 'active', 'failed', 'finished'] as const;
type Show = (typeof shows)[number];

const emptyTitles: Readonly<Record<Show, string>> = {
  all: 'No operations yet',
  active: 'Nothing is running',
  failed: 'Nothing failed or was cancelled',
  finished: 'Nothing is finished yet',
};

/** What happened, what is happening? */
export function OperationsPage() {
  const [show, setShow] = useState<Show>('all');
  const [typed, setTyped] = useState('');
  const [search] = useDebouncedValue(typed, 200);
  const [cursors, setCursors] = useState<string[]>([]);
  const begin = (): void => setCursors([]);
  return (
    <>
      <PageTitle title="Operations" />
      <Group gap="xs" mb="sm">
        <TextInput
          data-page-search
          value={typed}
          onChange={(event) => {
            setTyped(event.currentTarget.value);
            begin();
          }}
          placeholder="Name"
          aria-label="Search operations"
          leftSection={<IconSearch size={15} aria-hidden />}
          w={{ base: '100%', xs: 240 }}
        />
        <SegmentedControl
          aria-label="Show"
          value={show}
          onChange={(value) => {
            setShow(shows.find((known) => known === value) ?? 'all');
            begin();
          }}
          data={[
            { value: 'all', label: 'All' },
            { value: 'active', label: 'Now' },
            { value: 'failed', label: 'Not done' },
            { value: 'finished', label: 'Finished' },
          ]}
        />
      </Group>
      <OperationList
        filter={{ show, search, cursor: cursors.at(-1) ?? null }}
        empty={
          search !== '' ? (
            <Empty
              title="No operation is like that"
              action={
                <Button
                  variant="default"
                  onClick={() => {
                    setTyped('');
                    setShow('all');
                    begin();
                  }}
                >
                  Show all
                </Button>
              }
            >
              Nothing matches the search and the choice above.
            </Empty>
          ) : (
            <Empty
              title={emptyTitles[show]}
              action={
                <Button component={Link} href="/clone">
                  New clone
                </Button>
              }
            >
              Everything that is done to a guest shows here, while it happens and afterwards.
            </Empty>
          )
        }
        renderFooter={(next) =>
          next === null && cursors.length === 0 ? null : (
            <Group justify="center" mt="md">
              <Button
                variant="default"
                size="xs"
                disabled={cursors.length === 0}
                onClick={() => setCursors(cursors.slice(0, -1))}
              >
                Newer
              </Button>
              <Button
                variant="default"
                size="xs"
                disabled={next === null}
                onClick={() => {
                  if (next !== null) setCursors([...cursors, next]);
                }}
              >
                Older
              </Button>
            </Group>
          )
        }
      />
    </>
  );
}
