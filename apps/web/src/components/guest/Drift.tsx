'use client';

import { Button, Group, Stack, Text } from '@mantine/core';
import type { DriftDisk } from '@offshoot/clone-core/contract';
import { IconRefresh } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { driftWords, placesWords } from '../../lib/drift.ts';
import { formatBytes } from '../../lib/format.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Section } from '../display/Blocks.tsx';
import { Ago } from '../display/Text.tsx';

/** How far a linked clone has drifted from its base, and where. Read on the host when the page is opened, and when asked to. */
export function Drift({ guest }: { guest: GuestView }) {
  const trpc = useTRPC();
  const there = guest.baseId !== null && !['creating', 'deleting', 'missing'].includes(guest.state);
  const drift = useQuery({
    ...trpc.lineage.drift.queryOptions({ guestId: guest.id }),
    enabled: there,
    staleTime: 60_000,
    retry: false,
  });
  if (!there) return null;
  return (
    <Section
      title="Drift from its base"
      aside={
        <Button
          size="xs"
          variant="default"
          loading={drift.isFetching}
          leftSection={<IconRefresh size={14} aria-hidden />}
          onClick={() => void drift.refetch()}
        >
          Read again
        </Button>
      }
    >
      <Stack className="panel" p="sm" gap="sm" mih={86}>
        {drift.data ? (
          <>
            {drift.data.disks.map((disk) => (
              <Disk key={disk.target} disk={disk} several={drift.data.disks.length > 1} />
            ))}
            <Text size="sm" c="dimmed">
              Read <Ago at={drift.data.at} />
              {drift.data.running ? '; it runs, so what it wrote in the last seconds may be missing' : ''}
              {guest.host.simulated ? '; the places are made up, as the host is simulated' : ''}.
            </Text>
          </>
        ) : drift.error ? (
          <Text size="sm" c="dimmed">
            Not known: {publicError(drift.error).message} {publicError(drift.error).remedy}
          </Text>
        ) : (
          <Text size="sm" c="dimmed">
            Reading it on {guest.host.name}…
          </Text>
        )}
      </Stack>
    </Section>
  );
}

function Disk({ disk, several }: { disk: DriftDisk; several: boolean }) {
  return (
    <Stack gap={6}>
      <Text size="sm" className="num" style={{ whiteSpace: 'normal' }}>
        {several ? `${disk.target}: ` : ''}
        {driftWords(disk)}
      </Text>
      <BlockMap disk={disk} />
      <Group justify="space-between" gap="xs">
        <Text size="xs" c="dimmed" className="num">
          0
        </Text>
        <Text size="xs" c="dimmed" className="num">
          {formatBytes(disk.virtualBytes)}
        </Text>
      </Group>
    </Stack>
  );
}

/** The disk from its first byte to its last; the darker, the more of a place has changed. */
function BlockMap({ disk }: { disk: DriftDisk }) {
  return (
    <svg
      role="img"
      aria-label={`Where disk ${disk.target} changed. ${placesWords(disk)}`}
      viewBox={`0 0 ${disk.cells.length} 10`}
      preserveAspectRatio="none"
      width="100%"
      height={26}
      shapeRendering="crispEdges"
      style={{
        display: 'block',
        background: 'var(--surface)',
        border: '1px solid var(--line)',
        borderRadius: 3,
      }}
    >
      {disk.cells.map((percent, cell) =>
        percent === 0 ? null : (
          <rect
            key={cell}
            x={cell}
            y={0}
            width={1}
            height={10}
            fill="var(--mantine-color-text)"
            opacity={0.25 + (percent / 100) * 0.75}
          />
        ),
      )}
    </svg>
  );
}
