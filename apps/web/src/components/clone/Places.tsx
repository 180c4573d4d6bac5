import { Anchor, Stack, Text } from '@mantine/core';
import type { PlacementPreview, PlanNote } from '@offshoot/clone-core/contract';
import Link from 'next/link';
import { formatBytes, formatDuration } from '../../lib/format.ts';

/** Hosts that get none and are named at once; more are folded away. */
const NAMED = 2;

/** Which host gets how many, and why; then those that get none. */
export function Places({ placement: { shares, others } }: { placement: PlacementPreview }) {
  return (
    <Stack gap={6} component="ul" p={0} m={0} style={{ listStyle: 'none' }} aria-label="Where">
      {shares.map(({ hostId, name, seats, why, transfer }) => (
        <li key={hostId}>
          <Text size="sm">
            <Text span fw={600} className="num">
              {seats.length}
            </Text>{' '}
            on <HostLink id={hostId} name={name} />
            {transfer && transfer.bytes > 0 ? (
              <Text span className="num">
                {` · ${formatBytes(transfer.bytes)} first, about ${formatDuration(transfer.seconds)}`}
              </Text>
            ) : null}
          </Text>
          <Reason why={why} />
        </li>
      ))}
      {others.length > NAMED ? (
        <li>
          <details>
            <Text component="summary" size="sm" c="dimmed" style={{ cursor: 'pointer' }}>
              None on {others.length} other hosts
            </Text>
            <Stack gap={6} mt={6} component="ul" p={0} style={{ listStyle: 'none' }}>
              <Others others={others} />
            </Stack>
          </details>
        </li>
      ) : (
        <Others others={others} />
      )}
    </Stack>
  );
}

const Others = ({ others }: { others: PlacementPreview['others'] }) =>
  others.map(({ hostId, name, refused, why }) => (
    <li key={hostId}>
      <Text size="sm" c="dimmed">
        None on <HostLink id={hostId} name={name} />
        {refused ? ': it can’t take one' : ''}
      </Text>
      <Reason why={why} />
    </li>
  ));

/** May be long, and goes over several lines. */
const Reason = ({ why }: { why: string }) => (
  <Text size="xs" c="dimmed" style={{ fontVariantNumeric: 'tabular-nums', overflowWrap: 'anywhere' }}>
    {why}
  </Text>
);

const HostLink = ({ id, name }: { id: string; name: string }) => (
  <Anchor component={Link} href={`/hosts/${id}`} inherit underline="always">
    {name}
  </Anchor>
);

/** A note that not every host has says whose it is. */
export function placeNotes({ shares }: PlacementPreview): PlanNote[] {
  const all = new Map<string, { note: PlanNote; names: string[] }>();
  for (const { name, notes } of shares)
    for (const note of notes) {
      const known = all.get(note.text) ?? { note, names: [] };
      if (!known.names.includes(name)) known.names.push(name);
      all.set(note.text, known);
    }
  return [...all.values()].map(({ note, names }) =>
    names.length === shares.length ? note : { ...note, text: `${names.join(', ')}: ${note.text}` },
  );
}
