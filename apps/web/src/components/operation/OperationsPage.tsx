'use client';

import { Button, Group, SegmentedControl } from '@mantine/core';
import Link from 'next/link';
import { useSearchParams } from 'next/navigation';
import { useState } from 'react';
import { changeAddress, oneOf, searchOf } from '../../lib/address.ts';
import { Empty, PageTitle } from '../display/Blocks.tsx';
import { SearchField } from '../display/SearchField.tsx';
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
  const params = new URLSearchParams(useSearchParams());
  const show = oneOf(shows, params.get('show')) ?? 'all';
  const search = searchOf(params);
  const [cursors, setCursors] = useState<string[]>([]);
  const change = (part: { q?: string; show?: Show }): void => {
    changeAddress({ ...part, ...(part.show === 'all' ? { show: null } : {}) });
    setCursors([]);
  };
  return (
    <>
      <PageTitle title="Operations" />
      <Group gap="xs" mb="sm">
        <SearchField
          label="Search operations"
          placeholder="Name"
          value={search}
          onChange={(q) => change({ q })}
          w={{ base: '100%', xs: 240 }}
        />
        <SegmentedControl
          aria-label="Show"
          value={show}
          onChange={(value) => change({ show: oneOf(shows, value) ?? 'all' })}
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
                <Button variant="default" onClick={() => change({ q: '', show: 'all' })}>
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
