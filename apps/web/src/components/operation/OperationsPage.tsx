'use client';

import { Button, Group, SegmentedControl } from '@mantine/core';
import Link from 'next/link';
import { useSearchParams } from 'next/navigation';
import { changeAddress, oneOf } from '../../lib/address.ts';
import {
  operationAddressOf,
  operationQueryOf,
  operationShows,
  type OperationShow,
} from '../../lib/operation-query.ts';
import { Empty, PageTitle } from '../display/Blocks.tsx';
import { SearchField } from '../display/SearchField.tsx';
import { OperationList } from './OperationList.tsx';

const emptyTitles: Readonly<Record<OperationShow, string>> = {
  all: 'No operations yet',
  active: 'Nothing is running',
  failed: 'Nothing failed or was cancelled',
  finished: 'Nothing is finished yet',
};

/** What happened, what is happening? */
export function OperationsPage() {
  const query = operationQueryOf(new URLSearchParams(useSearchParams()));
  const { show, search, cursor } = query;
  const change = (part: { search?: string; show?: OperationShow }): void =>
    changeAddress(operationAddressOf({ ...part, cursor: null }));
  const turnTo = (to: string | null): void => {
    changeAddress(operationAddressOf({ cursor: to }), { turning: true });
    window.scrollTo({ top: 0 });
  };
  return (
    <>
      <PageTitle title="Operations" />
      <Group gap="xs" mb="sm">
        <SearchField
          label="Search operations"
          placeholder="Name"
          value={search}
          onChange={(text) => change({ search: text })}
          w={{ base: '100%', xs: 240 }}
        />
        <SegmentedControl
          aria-label="Show"
          value={show}
          onChange={(value) => change({ show: oneOf(operationShows, value) ?? 'all' })}
          data={[
            { value: 'all', label: 'All' },
            { value: 'active', label: 'Now' },
            { value: 'failed', label: 'Not done' },
            { value: 'finished', label: 'Finished' },
          ]}
        />
      </Group>
      <OperationList
        filter={query}
        empty={
          search !== '' || cursor ? (
            <Empty
              title="No operation is like that"
              action={
                <Button variant="default" onClick={() => change({ search: '', show: 'all' })}>
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
        renderFooter={({ nextCursor: older, newerCursor: newer }) =>
          older === null && !cursor ? null : (
            <Group justify="center" mt="md">
              <Button variant="default" size="xs" disabled={!cursor} onClick={() => turnTo(newer)}>
                Newer
              </Button>
              <Button variant="default" size="xs" disabled={older === null} onClick={() => turnTo(older)}>
                Older
              </Button>
            </Group>
          )
        }
      />
    </>
  );
}
