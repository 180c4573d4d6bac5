'use client';

import { AreaChart } from '@mantine/charts';
import '@mantine/charts/styles.layer.css';
import { Box, Text } from '@mantine/core';
import { formatBytes, formatExact } from '../../lib/format.ts';
import type { Health } from '../../server/hosts/health.ts';
import type { HostView } from '../../server/views/host.ts';
import classes from './host.module.css';

interface Row {
  at: string;
  load: number | null;
  memory: number | null;
  storage: number | null;
  heard: number;
}

interface Plot {
  field: Exclude<keyof Row, 'at'>;
  title: string;
  /** Upper end of the axis. */
  top: number;
  words: (value: number) => string;
}

/** Load, memory, storage and heartbeats under each other's time: four small plots read better than one with four axes. */
export function HealthCharts({ health, host }: { health: Health; host: HostView }) {
  const { facts } = host;
  const used = (total: number | undefined, free: number | null): number | null =>
    total === undefined || free === null ? null : total - free;
  const rows = health.points.map((point): Row => ({
    at: point.at,
    load: point.load,
    memory: used(facts?.memoryBytes, point.memoryFreeBytes),
    storage: used(facts?.store.totalBytes, point.storeFreeBytes),
    heard: Math.round(point.heard * 100),
  }));
  const highest = rows.reduce((high, { load }) => Math.max(high, load ?? 0), 0);
  const plots: Plot[] = [
    {
      field: 'load',
      title: 'Load',
      top: Math.max(facts?.cpus ?? 1, Math.ceil(highest)),
      words: (value) => value.toFixed(1),
    },
    { field: 'memory', title: 'Memory used', top: facts?.memoryBytes ?? 1, words: formatBytes },
    { field: 'storage', title: 'Storage used', top: facts?.store.totalBytes ?? 1, words: formatBytes },
    { field: 'heard', title: 'Heartbeats that came', top: 100, words: (value) => `${Math.round(value)} %` },
  ];
  return (
    <Box className={`panel ${classes['charts'] ?? ''}`}>
      {plots.map((plot) => (
        <figure key={plot.field} style={{ margin: 0, minWidth: 0 }} aria-label={told(plot, rows)}>
          <Text component="figcaption" size="sm" mb={2}>
            {plot.title}
          </Text>
          <AreaChart
            h={104}
            data={rows}
            dataKey="at"
            series={[{ name: plot.field, label: plot.title, color: 'var(--chart)' }]}
            valueFormatter={plot.words}
            curveType="step"
            withDots={false}
            withGradient={false}
            fillOpacity={0.18}
            strokeWidth={1.5}
            connectNulls={false}
            gridAxis="none"
            withPointLabels={false}
            areaChartProps={{ accessibilityLayer: false, syncId: 'health', margin: { left: 0, right: 0 } }}
            areaProps={{ isAnimationActive: false }}
            xAxisProps={{
              tickFormatter: (at: string) => formatExact(new Date(at)).slice(11, 16),
              minTickGap: 56,
              interval: 'preserveStart',
            }}
            yAxisProps={{ domain: [0, plot.top], ticks: [0, plot.top], width: 62, tickFormatter: plot.words }}
            tooltipProps={{ labelFormatter: (at: unknown) => formatExact(new Date(String(at))) }}
          />
        </figure>
      ))}
    </Box>
  );
}

/** What a plot shows, for those who don't see it. */
function told({ field, title, words }: Plot, rows: readonly Row[]): string {
  const values = rows.flatMap((row) => row[field] ?? []);
  const last = values.at(-1);
  if (last === undefined) return `${title}: nothing was told`;
  return `${title}: ${words(Math.min(...values))} to ${words(Math.max(...values))}, ${words(last)} at the end`;
}
