import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { reporters } from '../progress-source.ts';
import { quantile, round, type Bench } from '../result.ts';

const OPERATIONS = 25;
const REPORTS = 40;
/** A little slower than the journal's own throttle, so that every report is one event. */
const PACE_MS = 300;

/** From a worker's progress report, through PostgreSQL and the web, to JavaScript in Chromium. */
export const eventLatency: Bench = {
  id: 'event-latency',
  title: `progress report to browser, ${OPERATIONS * REPORTS} events`,
  async run(lab) {
    const portal = await lab.portal();
    const browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-background-networking', '--disable-quic'],
    });
    try {
      const page = await (
        await browser.newContext({ extraHTTPHeaders: { cookie: portal.cookie } })
      ).newPage();
      await page.goto(`${portal.url}/api/health`);
      const { batchId, reporters: sources } = await reporters(portal.db, OPERATIONS);
      const input = encodeURIComponent(JSON.stringify({ batchId, logs: false }));
      await page.evaluate((url) => {
        const latencies: number[] = [];
        Object.assign(globalThis, { latencies });
        return new Promise<void>((resolve, reject) => {
          const source = new EventSource(url);
          source.addEventListener('open', () => resolve());
          source.addEventListener('error', () => reject(new Error('no stream')));
          source.addEventListener('message', (event: { data: string }) => {
            const { data } = JSON.parse(event.data) as {
              data: { type: string; progress?: { note?: string } };
            };
            if (data.type === 'progress') latencies.push(Date.now() - Number(data.progress?.note));
          });
        });
      }, `/api/trpc/operation.onEvent?input=${input}`);
      for (let index = 0; index < REPORTS; index++) {
        // Spread over the pace, as independent workers would report.
        for (const [at, source] of sources.entries()) {
          setTimeout(
            () => source.report({ doneBytes: index, totalBytes: REPORTS, note: String(Date.now()) }),
            (at * PACE_MS) / OPERATIONS,
          );
        }
        await sleep(PACE_MS);
      }
      await sleep(PACE_MS * 2);
      await Promise.all(sources.map((source) => source.finish()));
      const latencies = await page.evaluate(
        () => (globalThis as unknown as { latencies: number[] }).latencies,
      );
      const p99 = round(quantile(latencies, 0.99), 1);
      return {
        id: 'event-latency',
        unit: 'ms',
        ours: p99,
        peers: {},
        ratio: null,
        of: null,
        runs: latencies.length,
        notes: `p99 to Chromium of ${latencies.length} of ${OPERATIONS * REPORTS} reports; p50 ${round(quantile(latencies, 0.5), 1)} ms, worst ${Math.max(...latencies)} ms`,
        p50: round(quantile(latencies, 0.5), 1),
      };
    } finally {
      await browser.close();
    }
  },
};
