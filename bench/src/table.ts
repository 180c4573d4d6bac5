import type { BenchResult } from './result.ts';

/** The results as a Markdown table: one line per bench, peers with their own ratio. */
export function comparisonTable(results: readonly BenchResult[]): string {
  const rows = results.map((result) => [
    result.id,
    `${result.ours} ${result.unit}`,
    Object.entries(result.peers)
      .map(([name, value]) => `${name} ${value} ${result.unit} (${(result.ours / value).toFixed(2)}×)`)
      .join(', ') || '–',
    result.ratio === null ? '–' : `${result.ratio.toFixed(2)} × ${result.of}`,
    String(result.runs),
    result.notes,
  ]);
  const header = ['bench', 'ours (median)', 'peers (ours ÷ peer)', 'ratio', 'runs', 'notes'];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
