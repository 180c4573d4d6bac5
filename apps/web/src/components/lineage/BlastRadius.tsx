import { List, Text } from '@mantine/core';
import Link from 'next/link';
import { count } from '../../lib/format.ts';
import type { BlastRadius as Blast, Dependent } from '../../server/lineage.ts';

/** Names that are listed at once. */
const LISTED = 8;

/** Who depends on something that is to be deleted: those who block it, and those who go on without it. */
export function BlastRadius({ blast, what }: { blast: Blast; what: string }) {
  const blocking = blast.blocking.length + blast.moreBlocking;
  const orphaned = blast.orphaned.length + blast.moreOrphaned;
  return (
    <>
      {blocking > 0 ? (
        <>
          <Text size="sm">
            {count(blocking, 'guest')} {blocking === 1 ? 'stands' : 'stand'} on {what} and{' '}
            {blocking === 1 ? 'blocks' : 'block'} this:
          </Text>
          <Names list={blast.blocking} total={blocking} />
          <Text size="sm" c="dimmed">
            Delete {blocking === 1 ? 'it' : 'them'} first, or keep this.
          </Text>
        </>
      ) : null}
      {orphaned > 0 ? (
        <>
          <Text size="sm">
            {count(orphaned, 'clone')} came from it and {orphaned === 1 ? 'stays' : 'stay'}, with disks of{' '}
            {orphaned === 1 ? 'its' : 'their'} own. {orphanedWords(blast.orphaned)}
          </Text>
          <Names list={blast.orphaned} total={orphaned} />
        </>
      ) : null}
    </>
  );
}

/** What they lose. Linked clones keep their base, so they lose nothing but the name. */
function orphanedWords(list: readonly Dependent[]): string {
  const full = list.filter((each) => each.mode === 'full').length;
  if (full === 0) return 'A base keeps what they share.';
  return full === 1 && list.length === 1
    ? 'It can’t be compared with it or brought up to date from it any more.'
    : 'Full clones can’t be compared with it or brought up to date from it any more.';
}

function Names({ list, total }: { list: readonly Dependent[]; total: number }) {
  const listed = list.slice(0, LISTED);
  return (
    <List size="sm">
      {listed.map((each) => (
        <List.Item key={each.id}>
          <Link href={`/guests/${each.id}`}>{each.name}</Link>
        </List.Item>
      ))}
      {total > listed.length ? <List.Item>and {total - listed.length} more</List.Item> : null}
    </List>
  );
}
