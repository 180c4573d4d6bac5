'use client';

import { SegmentedControl } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import dynamic from 'next/dynamic';
import { useState } from 'react';
import { useTRPC } from '../../lib/trpc.ts';
import type { HostView } from '../../server/views/host.ts';
import { Empty, Failed, Section, SkeletonRows } from '../display/Blocks.tsx';

const HEIGHT = 310;
const loading = () => <SkeletonRows rows={1} height={HEIGHT} />;
// The plots' library is loaded with the one page that has plots.
const HealthCharts = dynamic(() => import('./HealthCharts.tsx').then((module) => module.HealthCharts), {
  ssr: false,
  loading,
});

/** How the host was over the last hour or day. */
export function HealthSection({ host }: { host: HostView }) {
  const trpc = useTRPC();
  const [span, setSpan] = useState<'hour' | 'day'>('hour');
  const { data, error, refetch } = useQuery({
    ...trpc.host.health.queryOptions({ id: host.id, span }),
    refetchInterval: 30_000,
    placeholderData: keepPreviousData,
  });
  const told = data?.points.some((point) => point.heard > 0) ?? false;
  return (
    <Section
      title="Health"
      aside={
        <SegmentedControl
          size="xs"
          aria-label="Time shown"
          value={span}
          onChange={(value) => setSpan(value === 'day' ? 'day' : 'hour')}
          data={[
            { value: 'hour', label: 'Last hour' },
            { value: 'day', label: 'Last day' },
          ]}
        />
      }
    >
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : !data ? (
        loading()
      ) : told ? (
        <HealthCharts health={data} host={host} />
      ) : (
        <Empty title="Nothing was told in this time">
          Its worker reports load, memory and storage every few seconds; the first half minute shows here
          soon.
        </Empty>
      )}
    </Section>
  );
}
