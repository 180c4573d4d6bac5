import { Box, Group, Progress, Text } from '@mantine/core';
import type { HostFacts } from '@offshoot/clone-core/contract';
import { formatBytes } from '../../lib/format.ts';

/** How full something is: a bar that is amber above 85 % and red above 95 %, always with words. */
export function Fill({ name, used, total }: { name: string; used: number; total: number }) {
  const fraction = total === 0 ? 0 : Math.min(1, used / total);
  const tone = fraction > 0.95 ? 'failed' : fraction > 0.85 ? 'attention' : 'stopped';
  return (
    <Box>
      <Group justify="space-between" gap="xs" mb={4}>
        <Text size="sm">{name}</Text>
        <Text size="sm" c="dimmed" className="num">
          {formatBytes(total - used)} free of {formatBytes(total)}
          {tone === 'failed' ? ' · nearly full' : ''}
        </Text>
      </Group>
      <Progress
        value={fraction * 100}
        size={8}
        color={`var(--state-${tone})`}
        aria-label={`${name}: ${Math.round(fraction * 100)} % used`}
      />
    </Box>
  );
}

export const storeFill = ({ store }: HostFacts) => (
  <Fill name="Store" used={store.totalBytes - store.freeBytes} total={store.totalBytes} />
);
export const memoryFill = (facts: HostFacts) => (
  <Fill name="Memory" used={facts.memoryBytes - facts.memoryFreeBytes} total={facts.memoryBytes} />
);

/** "Processor emulation (TCG), slower" */
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
