/** Guests that go from one host of a fleet to another: the tests, for the suite that has the fleet. */
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';

import { join } from 'node:path';
import {
  cloneRequestSchema,
  importRequestSchema,
  type GuestQuestion,
  type OperationResult,
} from '@offshoot/clone-core/contract';
import {
  requestClone,
  requestDelete,
  requestImport,
  requestMove,
  requestStop,
} from '@offshoot/db/operations';
import type { Fleet, FleetHost } from '@offshoot/tools/fleet-lab';
import { ensureSampleImage } from '@offshoot/tools/sample-guest';
import { expect, it } from 'vitest';
import type { Rig } from '../../support/services.ts';
import { ended, ring } from '../../support/simulated.ts';
import { expectFinished } from './lab.ts';

let fleet: Fleet;
let rig: Rig;
let guestId = '';
const images = join(import.meta.dirname, '../../../../../node_modules/.cache/offshoot');

const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
const host = (number: number): FleetHost => {
  const found = fleet.hosts[number - 1];
  if (!found) throw new Error('no such host');
  return found;
};
const rung = async (batch: Promise<Parameters<typeof ring>[1]>) =>
  (await ring(rig, await batch)).operationIds;
const finished = async (ids: readonly string[]): Promise<OperationResult[]> => {
  const rows = await Promise.all(ids.map((id) => ended(rig, id, 90_000)));
  for (const row of rows) expectFinished(row);
  return rows.map((row) => row.result as OperationResult);
};
const virsh = (one: FleetHost, ...words: string[]): Promise<string> =>
  one.run(['virsh', '-q', '-c', 'qemu:///system', ...words]);
const guestsOn = async (one: FleetHost): Promise<string[]> =>
  (await virsh(one, 'list', '--all', '--name')).split('\n').filter(Boolean);
const row = () => rig.db.prisma.guest.findUniqueOrThrow({ where: { id: guestId } });
const filesOf = (one: FleetHost): Promise<string[]> => readdir(join(one.store, 'disks'), { recursive: true });
const question = (hostId: string, network?: string): GuestQuestion => ({
  kind: 'migrate',
  guestId,
  hostId,
  ...(network === undefined ? {} : { network }),
});
const refused = async (asking: Promise<unknown>): Promise<string> =>
  asking.then(
    () => 'not refused',
    (error: { publicMessage?: string }) => error.publicMessage ?? 'refused without words',
  );

const agent = async (one: FleetHost, execute: string, given: object): Promise<Record<string, unknown>> => {
  const command = JSON.stringify({ execute, arguments: given });
  const { return: said } = JSON.parse(await virsh(one, 'qemu-agent-command', 'mover', command)) as {
    return: Record<string, unknown>;
  };
  return said;
};
/** Begins a shell line in the guest; resolves with its process. */
const begin = (one: FleetHost, line: string): Promise<unknown> =>
  agent(one, 'guest-exec', {
    path: '/bin/sh',
    arg: ['-c', line],
    'capture-output': true,
  }).then(({ pid }) => pid);
/** Runs one; resolves with its output. */
async function inside(one: FleetHost, line: string): Promise<string> {
  const pid = await begin(one, line);
  let said: Record<string, unknown> = {};
  const exited = async () => (said = await agent(one, 'guest-exec-status', { pid }))['exited'];
  await expect.poll(exited, { timeout: 20_000, interval: 100 }).toBe(true);
  return Buffer.from(typeof said['out-data'] === 'string' ? said['out-data'] : '', 'base64')
    .toString()
    .trim();
}

/** A sample guest on the first host, running. */
async function makeMover(): Promise<void> {
  const request = importRequestSchema.parse({
    template: 'sample',
    hostId: 'host-1',
    imagePath: await ensureSampleImage(images),
    network: 'default',
  });
  await finished(await rung(requestImport(rig.db, { ...asked(), request })));
  const version = await rig.db.prisma.templateVersion.findFirstOrThrow({
    where: { template: { name: 'sample' } },
  });
  const wish = cloneRequestSchema.parse({
    source: { type: 'template', versionId: version.id },
    mode: 'linked',
    names: ['mover'],
  });
  await finished(await rung(requestClone(rig.db, { ...asked(), request: wish })));
  guestId = (await rig.db.prisma.guest.findFirstOrThrow({ where: { name: 'mover' } })).id;
}

/** Registers the tests. `rate`: of the fleet's cables. */
export function guestsMove(parts: () => { fleet: Fleet; rig: Rig }, rate: string): void {
  it('a running guest goes: its base first, itself within a short pause, and a process in it goes on', async () => {
    ({ fleet, rig } = parts());
    await makeMover();
    const before = await row();
    await inside(host(1), 'echo kept > /root/kept && sync');
    const ticking = await begin(host(1), 'while :; do echo >> /tmp/ticks; sleep 0.1; done');
    expect(await refused(rig.queues.previewGuest('host-1', question('host-2', 'nowhere')))).toBe(
      'host-2 has no network nowhere.',
    );
    const preview = await rig.queues.previewGuest('host-1', question('host-2'));
    expect(preview.plan.summary).toBe('Move mover to host-2');
    expect(preview.plan.notes.map(({ text }) => text).join('\n')).toContain('Its base (');
    const agreedFingerprint = preview.plan.fingerprint;
    const ids = await rung(requestMove(rig.db, { ...asked(), guestId, hostId: 'host-2', agreedFingerprint }));
    const [transfer, move] = await finished(ids);
    expect(transfer?.transfer?.from).toEqual(['host-1']);
    expect(move?.pauseMs).toBeLessThanOrEqual(2000);
    const after = await row();
    expect(after).toMatchObject({ hostId: 'host-2', uuid: before.uuid, macs: before.macs, mode: 'linked' });
    expect(await guestsOn(host(1))).toEqual([]);
    expect(await filesOf(host(1))).toEqual([]);
    expect(await virsh(host(2), 'domuuid', 'mover')).toContain(before.uuid);
    const ticks = async () =>
      Number(await inside(host(2), `kill -0 ${String(ticking)} && wc -l < /tmp/ticks`));
    const then = await ticks();
    expect(then).toBeGreaterThan(0);
    await expect.poll(ticks, { timeout: 15_000 }).toBeGreaterThan(then);
    expect(await inside(host(2), 'cat /root/kept')).toBe('kept');
    const base = await rig.db.prisma.base.findUniqueOrThrow({ where: { id: after.baseId ?? '' } });
    expect(base.hostId).toBe('host-2');
    expect(await rig.db.prisma.guest.count({ where: { name: 'mover' } })).toBe(1);
  });

  it('the cable cut in the middle: it runs on where it was, and nothing is left on the other host', async () => {
    await host(2).limit('20mbit');
    const [id = ''] = await rung(requestMove(rig.db, { ...asked(), guestId, hostId: 'host-1' }));
    await expect.poll(() => progressOf(id), { timeout: 40_000, interval: 100 }).toBeGreaterThan(0);
    await host(1).cut();
    await expect
      .poll(async () => (await rig.db.prisma.operation.findUniqueOrThrow({ where: { id } })).state, {
        timeout: 40_000,
      })
      .toBe('undoing');
    expect(await virsh(host(2), 'domstate', 'mover')).toContain('running');
    expect(await inside(host(2), 'cat /root/kept')).toBe('kept');
    await host(1).restore();
    const gone = await ended(rig, id, 90_000);
    expect(gone.state).toBe('failed');
    expect(gone.undo).toMatchObject({ leftBehind: [] });
    await host(2).limit(rate);
    expect((await row()).hostId).toBe('host-2');
    expect(await guestsOn(host(1))).toEqual([]);
    expect(await filesOf(host(1))).toEqual([]);
  });

  it('a stopped guest: its files as they are, and only then is it gone here', async () => {
    await finished(await rung(requestStop(rig.db, { ...asked(), guestId, force: true })));
    const [moved] = (
      await finished(await rung(requestMove(rig.db, { ...asked(), guestId, hostId: 'host-1' })))
    ).slice(-1);
    expect(moved?.strategy).toBe('transfer');
    expect(await guestsOn(host(2))).toEqual([]);
    expect(await filesOf(host(2))).toEqual([]);
    expect(await guestsOn(host(1))).toEqual(['mover']);
    await virsh(host(1), 'start', 'mover');
    const ping = JSON.stringify({ execute: 'guest-ping' });
    const answers = () =>
      virsh(host(1), 'qemu-agent-command', 'mover', ping).then(
        () => true,
        () => false,
      );
    // Emulated, on a machine that may be busy.
    await expect.poll(answers, { timeout: 120_000, interval: 500 }).toBe(true);
    expect(await inside(host(1), 'cat /root/kept')).toBe('kept');
    await finished(await rung(requestDelete(rig.db, { ...asked(), guestId })));
    expect(await filesOf(host(1))).toEqual([]);
  }, 240_000);
}

interface Running {
  kind: string;
  progress?: { doneBytes?: number };
}
async function progressOf(id: string): Promise<number> {
  const found = await rig.db.prisma.operation.findUniqueOrThrow({ where: { id } });
  const at = (found.plan as { steps: Running[] } | null)?.steps.findIndex(
    ({ kind }) => kind === 'migrate-live',
  );
  return (found.steps as Running[] | null)?.[at ?? -1]?.progress?.doneBytes ?? 0;
}
