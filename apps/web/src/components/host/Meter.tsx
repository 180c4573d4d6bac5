import { Box, Group, Progress, Text, Tooltip } from '@mantine/core';
import type { HostFacts } from '@offshoot/clone-core/contract';
import { formatBytes } from '../../lib/format.ts';
import type { FleetSums } from '../../server/hosts/list.ts';
import type { HostView } from '../../server/views/host.ts';
import classes from './host.module.css';

/** How full something is. `promised`: asked for and not taken yet. */
export interface Fill {
  name: string;
  used: number;
  promised: number;
  total: number;
  /** "120 GiB free of 256 GiB" */
  words: string;
}

const bytesFill = (name: string, total: number, free: number, promised: number): Fill => ({
  name,
  used: total - free,
  promised,
  total,
  words: `${formatBytes(free)} free of ${formatBytes(total)}`,
});

/** What of a host is used, promised and free; null: it has not said. */
export function fillsOf({ facts, guests }: Pick<HostView, 'facts' | 'guests'>): Fill[] | null {
  if (!facts) return null;
  return [
    {
      name: 'Processors',
      used: Math.min(facts.load1, facts.cpus),
      promised: 0,
      total: facts.cpus,
      words: `load ${facts.load1.toFixed(1)} of ${facts.cpus}`,
    },
    bytesFill('Memory', facts.memoryBytes, facts.memoryFreeBytes, guests.promisedMemoryBytes),
    bytesFill('Storage', facts.store.totalBytes, facts.store.freeBytes, guests.promisedStoreBytes),
  ];
}

export const fleetFills = (sums: FleetSums): Fill[] => [
  {
    name: 'Processors',
    used: Math.min(sums.load, sums.cpus),
    promised: 0,
    total: sums.cpus,
    words: `load ${sums.load.toFixed(0)} of ${sums.cpus}`,
  },
  bytesFill('Memory', sums.memoryBytes, sums.memoryFreeBytes, 0),
  bytesFill('Storage', sums.storeBytes, sums.storeFreeBytes, 0),
];

/** Amber above 85 %, red above 95 %; what is promised counts. */
function toneOf({ used, promised, total }: Fill): 'stopped' | 'attention' | 'failed' {
  const fraction = total === 0 ? 0 : (used + promised) / total;
  return fraction > 0.95 ? 'failed' : fraction > 0.85 ? 'attention' : 'stopped';
}

function Bar({ fill, size }: { fill: Fill; size: number }) {
  const { name, used, promised, total } = fill;
  const share = (part: number): number => (total === 0 ? 0 : Math.min(100, (part / total) * 100));
  return (
    <Progress.Root size={size} className={classes['bar'] ?? ''}>
      <Progress.Section
        value={share(used)}
        color={`var(--state-${toneOf(fill)})`}
        aria-label={`${name}: ${Math.round(share(used))} % used`}
      />
      {promised > 0 ? (
        <Progress.Section
          value={Math.min(share(promised), 100 - share(used))}
          color="var(--state-working)"
          striped
          aria-label={`${name}: ${Math.round(share(promised))} % promised`}
        />
      ) : null}
    </Progress.Root>
  );
}

/** With its name and numbers above it. */
export function Meter({ fill }: { fill: Fill }) {
  return (
    <Box>
      <Group justify="space-between" gap="xs" mb={4}>
        <Text size="sm">{fill.name}</Text>
        <Text size="sm" c="dimmed" className="num">
          {fill.words}
          {toneOf(fill) === 'failed' ? ' · nearly full' : ''}
        </Text>
      </Group>
      <Bar fill={fill} size={8} />
      {fill.promised > 0 ? (
        <Text size="xs" c="dimmed" mt={4} className="num">
          {formatBytes(fill.promised)} promised to what is asked for
        </Text>
      ) : null}
    </Box>
  );
}

/** For a table: the bar and the share, the numbers on hover. */
export function SmallMeter({ fill }: { fill: Fill }) {
  const percent = fill.total === 0 ? 0 : Math.round((fill.used / fill.total) * 100);
  return (
    <Tooltip label={fill.words} openDelay={300}>
      <Group gap={8} wrap="nowrap">
        <Box style={{ flex: 1, minWidth: 40 }}>
          <Bar fill={fill} size={6} />
        </Box>
        <Text size="xs" c="dimmed" className="num" w={34} ta="right">
          {percent} %
        </Text>
      </Group>
    </Tooltip>
  );
}

/** "Emulation (TCG): KVM does not work here" */
export function acceleratorWords(facts: HostFacts): string {
  switch (facts.accelerator.name) {
    case 'kvm':
      return 'KVM, proven by booting a guest';
    case 'tcg':
      return 'Emulation (TCG): KVM does not work here';
    case 'simulated':
      return 'None: the host is simulated';
  }
}

export const acceleratorNames: Readonly<Record<HostFacts['accelerator']['name'], string>> = {
  kvm: 'KVM',
  tcg: 'Emulation',
  simulated: 'Simulated',
};
