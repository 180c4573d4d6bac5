import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { eventsAfter, latestEventId } from '@offshoot/db/events';
import type { Portal } from '../portal.ts';
import { reporters } from '../progress-source.ts';
import { round, type Bench } from '../result.ts';

const SUBSCRIBERS = 1000;
const PROCESSES = 2;
const PORT = 3977;
/** Time for all to come back after the restart: EventSource waits a few seconds before it tries again. */
const SETTLE_MS = 120_000;
const web = fileURLToPath(new URL('../../../apps/web', import.meta.url));
const next = fileURLToPath(new URL('../../../node_modules/next/dist/bin/next', import.meta.url));

async function startWeb(portal: Portal): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [next, 'start', '-p', String(PORT), '-H', '127.0.0.1'], {
    cwd: web,
    stdio: 'ignore',
    env: {
      ...process.env,
      DATABASE_URL: portal.databaseUrl,
      REDIS_URL: portal.redisUrl,
      BETTER_AUTH_SECRET: portal.authSecret,
      NODE_ENV: 'production',
    },
  });
  const url = `http://127.0.0.1:${PORT}`;
  for (;;) {
    try {
      await fetch(`${url}/api/health`);
      return { url, child };
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      await sleep(50);
    }
  }
}

/** 1,000 streams on one web process, which is killed and started again while events flow. */
export const subscribers1000: Bench = {
  id: 'subscribers-1000',
  title: `${SUBSCRIBERS} subscribers on one web process lose and repeat nothing across its restart`,
  async run(lab) {
    const portal = await lab.portal();
    let serving = await startWeb(portal);
    const { batchId, reporters: sources } = await reporters(portal.db, 5);
    const from = await latestEventId(portal.db);
    const children = Array.from({ length: PROCESSES }, () =>
      fork(fileURLToPath(new URL('../subscriber-process.ts', import.meta.url)), {
        execArgv: ['--import', 'tsx'],
      }),
    );
    const opened = new Map<ChildProcess, number>();
    for (const child of children) {
      child.on('message', (message: { opened?: number; error?: string }) => {
        if (message.opened !== undefined) opened.set(child, message.opened);
        if (message.error !== undefined) lab.say(`subscriber: ${message.error}`);
      });
      child.send({
        order: { url: serving.url, cookie: portal.cookie, batchId, from, count: SUBSCRIBERS / PROCESSES },
      });
    }
    try {
      while ([...opened.values()].reduce((sum, count) => sum + count, 0) < SUBSCRIBERS) await sleep(100);
      lab.say('all are subscribed');
      const report = async (times: number): Promise<void> => {
        for (let index = 0; index < times; index++) {
          for (const source of sources) source.report({ doneBytes: index, note: String(index) });
          await sleep(500);
        }
      };
      await report(6);
      serving.child.kill('SIGKILL');
      await once(serving.child, 'exit');
      await report(4);
      serving = await startWeb(portal);
      await report(6);
      await Promise.all(sources.map((source) => source.finish()));
      const expected = await allEvents(portal, from, batchId);
      const begun = performance.now();
      let verdict = await ask(children, expected);
      while (verdict.complete < SUBSCRIBERS && performance.now() - begun < SETTLE_MS) {
        await sleep(500);
        verdict = await ask(children, expected);
      }
      lab.say(JSON.stringify(verdict));
      return {
        id: 'subscribers-1000',
        unit: 'subscribers',
        ours: verdict.complete,
        peers: {},
        ratio: null,
        of: null,
        runs: 1,
        notes: `${expected.length} events each, web killed and restarted midway: ${verdict.lost} lost, ${verdict.repeated} repeated; all caught up ${round((performance.now() - begun) / 1000, 1)} s after the last event`,
        ...verdict,
      };
    } finally {
      for (const child of children) child.kill('SIGKILL');
      serving.child.kill('SIGKILL');
    }
  },
};

async function allEvents(portal: Portal, from: string, batchId: string): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor = from; ;) {
    const page = await eventsAfter(portal.db, cursor, { batchId });
    ids.push(...page.filter((event) => event.data.type !== 'log').map((event) => event.id));
    if (page.length < 500) return ids;
    cursor = page.at(-1)?.id ?? cursor;
  }
}

interface Verdict {
  complete: number;
  lost: number;
  repeated: number;
}

async function ask(children: readonly ChildProcess[], expected: string[]): Promise<Verdict> {
  const answers = await Promise.all(
    children.map(
      (child) =>
        new Promise<Verdict>((resolve) => {
          const hear = (message: { verdict?: Verdict }): void => {
            if (!message.verdict) return;
            child.off('message', hear);
            resolve(message.verdict);
          };
          child.on('message', hear);
          child.send({ expected });
        }),
    ),
  );
  return answers.reduce((sum, one) => ({
    complete: sum.complete + one.complete,
    lost: sum.lost + one.lost,
    repeated: sum.repeated + one.repeated,
  }));
}
