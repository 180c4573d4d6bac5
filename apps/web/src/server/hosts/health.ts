/** How a host was over the last hour or day. */
import { db } from '../services.ts';

export interface HealthPoint {
  /** Begin of the span, ISO 8601. */
  at: string;
  /** Share of the heartbeats that came, 0 to 1. */
  heard: number;
  /** Highest of the span; null, as the others: nothing was told. */
  load: number | null;
  memoryFreeBytes: number | null;
  storeFreeBytes: number | null;
  running: number | null;
}

export interface Health {
  /** Length of a span, seconds. */
  seconds: number;
  /** Every span, also those without a word. */
  points: HealthPoint[];
}

export const healthSpans = { hour: { hours: 1, seconds: 30 }, day: { hours: 24, seconds: 300 } } as const;
export type HealthSpan = keyof typeof healthSpans;

/** A worker reports every 5 seconds; one that is busy a little more rarely is no gap. */
const BEAT_SECONDS = 6;

/** What was told in each span until now. */
export async function healthOf(hostId: string, span: HealthSpan): Promise<Health> {
  const { hours, seconds } = healthSpans[span];
  const { rows } = await db().pool.query<{
    at: Date;
    beats: string | null;
    load: number | null;
    memoryFreeBytes: string | null;
    storeFreeBytes: string | null;
    running: number | null;
  }>(
    `WITH told AS (
       SELECT date_bin(make_interval(secs => $3), "at", 'epoch') AS at, sum("beats") AS beats, max("load") AS load,
         min("memoryFreeBytes") AS "memoryFreeBytes", min("storeFreeBytes") AS "storeFreeBytes", max("running") AS running
       FROM "host_sample" WHERE "hostId" = $1 AND "seconds" IN (30, 300) AND "at" >= now() - make_interval(hours => $2, secs => $3) GROUP BY 1)
     SELECT at, beats, load, "memoryFreeBytes", "storeFreeBytes", running FROM generate_series(date_bin(make_interval(secs => $3), now() - make_interval(hours => $2), 'epoch'), now(), make_interval(secs => $3)) AS spans(at)
       LEFT JOIN told USING (at) ORDER BY 1`,
    [hostId, hours, seconds],
  );
  const number = (value: string | number | null): number | null => (value === null ? null : Number(value));
  // The one that is not over yet would look like silence.
  const whole = rows.slice(0, -1);
  return {
    seconds,
    points: whole.map((row) => ({
      at: row.at.toISOString(),
      heard: Math.min(1, Number(row.beats ?? 0) / (seconds / BEAT_SECONDS)),
      load: row.load === null ? null : row.load / 100,
      memoryFreeBytes: number(row.memoryFreeBytes),
      storeFreeBytes: number(row.storeFreeBytes),
      running: row.running,
    })),
  };
}
