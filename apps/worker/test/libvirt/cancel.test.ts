/** A cancel in the middle of a copy: 2 s later nothing is left, and only what belonged to it was touched. */
import { chmod, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requestCancel } from '@offshoot/db/operations';
import { ensureSampleImage } from '@offshoot/tools/sample-guest';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import type { PostgresUrl } from '../support/services.ts';
import { clone, copying, ended } from '../support/simulated.ts';
import { assertSameContent, GIB, makeDisk, sha256 } from '@offshoot/tools/lab/disks';
import { LIBVIRT_URI, virsh } from '@offshoot/tools/lab/host';
import { diskOf, expectFinished, openLab, type Lab } from './support/lab.ts';
import { copierOf, processesWith } from './support/processes.ts';

const url: PostgresUrl = inject('postgresUrl');
/** From the click until nothing is left, milliseconds: what the product promises. */
const PROMISED_MS = 2000;
const cache = join(import.meta.dirname, '../../../../node_modules/.cache/offshoot');

let lab: Lab;
beforeEach(async () => {
  lab = await openLab(url, { bulk: 2 });
});
afterEach(() => lab.close());
const named = (name: string): string => `${lab.prefix}${name}`;

/** Whether anything of the clone is still here: a process, a file, a domain, its row. */
async function remains(name: string): Promise<string[]> {
  const inStore = `${lab.store}/disks/${name}-`;
  return [
    ...(await processesWith(inStore)).map(({ pid, argv }) => `process ${pid} ${argv.join(' ')}`),
    ...(await lab.files()).filter((path) => path.startsWith(inStore)),
    ...(await lab.domains()).filter((domain) => domain === name).map((domain) => `domain ${domain}`),
    ...(await lab.db.prisma.guest.findMany({ where: { name } })).map((row) => `row ${row.name}`),
  ];
}

/** Clicks, and waits until nothing of the clone is left; resolves with the milliseconds that it took. */
async function cancelAndMeasure(operationId: string, name: string): Promise<number> {
  const clicked = performance.now();
  await requestCancel(lab.db, operationId);
  let left = await remains(name);
  while (left.length > 0) {
    if (performance.now() - clicked > PROMISED_MS)
      throw new Error(`${PROMISED_MS} ms after the cancel there still is: ${left.join(', ')}`);
    await sleep(20);
    left = await remains(name);
  }
  const ms = Math.round(performance.now() - clicked);
  console.log(`cancel of ${operationId}: nothing left after ${ms} ms`);
  return ms;
}

it('leaves nothing after 2 s; another operation’s copy and a stranger’s of the same source go on', async () => {
  const disk = join(lab.folder, 'source.qcow2');
  await makeDisk(disk, 2 * GIB);
  const digest = await sha256(disk);
  await lab.worker();
  const source = {
    type: 'guest',
    id: await lab.source(named('source'), { disks: [{ path: disk }] }),
  } as const;
  const one = await clone(lab, 'full', [named('c1')], { source });
  const other = await clone(lab, 'full', [named('c2')], { source });
  const [oneId = ''] = one.operationIds;
  await Promise.all([copying(lab, oneId), copying(lab, other.operationIds[0])]);
  const mine = await copierOf(`${lab.store}/disks/${named('c1')}-`);
  const others = await copierOf(`${lab.store}/disks/${named('c2')}-`);
  expect(mine).toBeDefined();
  expect(others).toBeDefined();
  const strangersCopy = join(lab.folder, 'stranger.qcow2');
  const stranger = execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'qcow2', disk, strangersCopy]);
  // Held still, so that on a fast disk neither ends before it has been looked at.
  const heldStill = [stranger.pid, others?.pid].filter((pid) => pid !== undefined);
  for (const pid of heldStill) process.kill(pid, 'SIGSTOP');

  await cancelAndMeasure(oneId, named('c1'));

  expect((await processesWith(strangersCopy)).map(({ pid }) => pid)).toContain(stranger.pid);
  expect((await copierOf(`${lab.store}/disks/${named('c2')}-`))?.pid).toBe(others?.pid);
  for (const pid of heldStill) process.kill(pid, 'SIGCONT');
  expect(await ended(lab, oneId)).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
  const finished = await ended(lab, other.operationIds[0], 90_000);
  expectFinished(finished);
  expect(finished.attempts).toBe(1);
  await assertSameContent(disk, await diskOf(named('c2')));
  await stranger;
  expect(await sha256(disk)).toBe(digest);
  await lab.expectTidy();
});

it('of a running source leaves that running, not frozen, with no backup job and no checkpoint', async () => {
  const system = join(lab.folder, 'system.qcow2');
  const data = join(lab.folder, 'data.qcow2');
  await copyFile(await ensureSampleImage(cache), system);
  await makeDisk(data, 2 * GIB);
  for (const path of [system, data]) await chmod(path, 0o666);
  await lab.worker();
  const name = named('live');
  const id = await lab.source(name, {
    disks: [{ path: system }, { path: data }],
    memoryMiB: 128,
    agent: true,
  });
  await virsh('start', name);
  await expect.poll(() => agent(name, 'guest-ping'), { timeout: 60_000, interval: 300 }).toBe('ok');
  await expect
    .poll(() => lab.db.prisma.guest.findUniqueOrThrow({ where: { id } }), { timeout: 15_000 })
    .toMatchObject({ state: 'running' });

  const batch = await clone(lab, 'full', [named('r1')], { source: { type: 'guest', id } });
  const [operationId = ''] = batch.operationIds;
  const row = await copying(lab, operationId);
  expect(row.plan).toMatchObject({ strategy: 'backup', consistency: 'filesystem' });
  await cancelAndMeasure(operationId, named('r1'));

  expect(await ended(lab, operationId)).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
  expect((await virsh('domstate', name)).trim()).toBe('running');
  expect(await agent(name, 'guest-fsfreeze-status')).toBe('thawed');
  expect((await virsh('domjobinfo', name)).trim()).toMatch(/^Job type:\s+None/);
  await expect(virsh('backup-dumpxml', name)).rejects.toThrow();
  expect((await virsh('checkpoint-list', '--name', name)).trim()).toBe('');
  await lab.expectTidy();

  // And it can be cloned as if nothing had been.
  const again = await clone(lab, 'full', [named('r2')], { source: { type: 'guest', id } });
  expectFinished(await ended(lab, again.operationIds[0], 90_000));
  expect((await virsh('domstate', name)).trim()).toBe('running');
  expect(await agent(name, 'guest-fsfreeze-status')).toBe('thawed');
  await lab.expectTidy();
});

/** What the guest's agent answers: "ok" for an empty answer, undefined while it is silent. */
async function agent(name: string, command: string): Promise<unknown> {
  const done = await execa(
    'virsh',
    [
      '-q',
      '-c',
      LIBVIRT_URI,
      'qemu-agent-command',
      name,
      JSON.stringify({ execute: command }),
      '--timeout',
      '5',
    ],
    { reject: false },
  );
  if (done.exitCode !== 0) return undefined;
  const { return: answer } = JSON.parse(done.stdout) as { return: unknown };
  return typeof answer === 'object' ? 'ok' : answer;
}
