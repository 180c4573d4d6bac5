'use client';

import { Box, Checkbox, Group, Text } from '@mantine/core';
import Link from 'next/link';
import { formatBytes } from '../../lib/format.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { GuestStateLabel } from '../display/State.tsx';
import { Marks } from './Marks.tsx';
import { modeWord } from './GuestTable.tsx';

/** The table on a narrow screen. */
export function GuestCards({
  guests,
  selected,
  onSelect,
}: {
  guests: GuestView[];
  selected: GuestView[];
  onSelect: (guests: GuestView[]) => void;
}) {
  return (
    <Box className="panel">
      {guests.map((guest) => {
        const checked = selected.some(({ id }) => id === guest.id);
        return (
          <Box key={guest.id} className="row" style={{ gridTemplateColumns: '20px minmax(0, 1fr) auto' }}>
            <Checkbox
              size="sm"
              checked={checked}
              aria-label={`Select ${guest.name}`}
              onChange={() =>
                onSelect(checked ? selected.filter(({ id }) => id !== guest.id) : [...selected, guest])
              }
            />
            <Box style={{ minWidth: 0 }}>
              <Link className="thing" href={`/guests/${guest.id}`}>
                {guest.name}
              </Link>
              <Text size="xs" c="dimmed" className="num" truncate>
                {[guest.address, guest.source?.label ?? modeWord(guest)].filter(Boolean).join(' · ')}
              </Text>
              <Group gap={8} fz="xs" component="span">
                <Marks guest={guest} />
              </Group>
            </Box>
            <Group gap={2} style={{ flexDirection: 'column', alignItems: 'flex-end' }}>
              <Text size="sm" component="span">
                <GuestStateLabel state={guest.state} />
              </Text>
              <Text size="xs" c="dimmed" className="num">
                {guest.usedBytes === null ? '' : formatBytes(guest.usedBytes)}
              </Text>
            </Group>
          </Box>
        );
      })}
    </Box>
  );
}
