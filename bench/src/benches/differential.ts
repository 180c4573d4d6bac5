import { createHash, randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  cloneRequestSchema,
  refreshOptionsSchema,
  type OperationResult,
} from '@offshoot/clone-core/contract';
import { requestClone, requestRefresh } from '@offshoot/db/operations';
import { execa } from 'execa';
import { coldSeconds, makeMixedDisk } from '../disk.ts';
import { batchFinished, deleteGuests, type Portal } from '../portal.ts';
import { median, round, type Bench, type BenchResult, type Lab } from '../result.ts';
import { diskNamed } from '../source.ts';
import { runningSource, type RunningSource } from '../running-source.ts';

const MIB = 1024 ** 2;
const BLOCK = 65_536;
const CHANGED_BYTES = 50 * MIB;
const DATA_BYTES = 1.5 * 1024 * MIB;
const DISK_BYTES = 4 * 1024 * MIB;

async function asked(
  portal: Portal,
  make: () => ReturnType<typeof requestClone>,
): Promise<OperationResult & { strategy?: string }> {
  const batch = await make();
  await Promise.all(batch.jobs.map((job) => portal.queues.enqueueOperation(job)));
  await batchFinished(portal, batch.batchId, 1);
  const row = await portal.db.prisma.operation.findFirstOrThrow({ where: { batchId: batch.batchId } });
  return (row.result ?? {}) as OperationResult;
}

const clone = (portal: Portal, source: RunningSource, name: string, refreshable: boolean) =>
  asked(portal, () =>
    requestClone(portal.db, {
      userId: null,
      idempotencyKey: randomUUID(),
      request: cloneRequestSchema.parse({
        source: { type: 'guest', id: source.id },
        mode: 'full',
        names: [name],
        options: { start: false, waitForAgent: false, refreshable },
      }),
    }),
  );

async function refresh(portal: Portal, name: string): Promise<OperationResult> {
  const { id } = await portal.db.prisma.guest.findFirstOrThrow({ where: { name } });
  return asked(portal, () =>
    requestRefresh(portal.db, {
      userId: null,
      idempotencyKey: randomUUID(),
      guestId: id,
      options: refreshOptionsSchema.parse({}),
    }),
  );
}

/** Reads both raw files whole, compares a digest of every block, and writes what differs in place: no record, no format. */
async function hashCopy(from: string, to: string): Promise<void> {
  const [source, target] = [await open(from, 'r'), await open(to, 'r+')];
  const chunk = 4 * MIB;
  const [mine, theirs] = [Buffer.alloc(chunk), Buffer.alloc(chunk)];
  const digest = (block: Buffer): string => createHash('sha256').update(block).digest('hex');
  try {
    for (let at = 0; ; at += chunk) {
      const [{ bytesRead }] = await Promise.all([
        source.read(mine, 0, chunk, at),
        target.read(theirs, 0, chunk, at),
      ]);
      if (bytesRead === 0) break;
      for (let offset = 0; offset < bytesRead; offset += BLOCK) {
        const block = mine.subarray(offset, Math.min(offset + BLOCK, bytesRead));
        if (digest(block) !== digest(theirs.subarray(offset, offset + block.length)))
          await target.write(block, 0, block.length, at + offset);
      }
    }
    await target.sync();
  } finally {
    await source.close();
    await target.close();
  }
}

type Way = 'record' | 'comparison';

async function measure(lab: Lab, id: string, way: Way): Promise<BenchResult> {
  const portal = await lab.portal();
  const data = join(lab.scratch, `${id}.qcow2`);
  await makeMixedDisk(data, DATA_BYTES, DISK_BYTES);
  const source = await runningSource(portal, lab.scratch, data);
  const times = new Map<string, number[]>();
  const note = (name: string, seconds: number): void => {
    times.set(name, [...(times.get(name) ?? []), seconds]);
    lab.say(`${name}: ${seconds.toFixed(2)} s`);
  };
  const copies = {
    rsync: join(lab.scratch, `${id}-rsync.qcow2`),
    convert: join(lab.scratch, `${id}-convert.qcow2`),
    now: join(lab.scratch, `${id}-now.raw`),
    hash: join(lab.scratch, `${id}-hash.raw`),
  };
  const moved: number[] = [];
  const name = `bench-${id}`;
  try {
    await clone(portal, source, name, true);
    await execa('cp', ['--', data, copies.rsync]);
    await execa('qemu-img', ['convert', '-U', '-O', 'raw', data, copies.hash]);
    for (let run = 0; run < lab.runs; run++) {
      await source.changeBlocks(CHANGED_BYTES / BLOCK, BLOCK, run);
      if (way === 'comparison') await source.dropRecords();
      await source.keepWriting(true);
      let result: OperationResult = {};
      note(
        'offshoot',
        await coldSeconds(async () => {
          result = await refresh(portal, name);
        }),
      );
      await source.keepWriting(false);
      if ((result.strategy === 'changed blocks') !== (way === 'record'))
        throw new Error(`the refresh went by ${result.strategy ?? 'nothing'}`);
      moved.push(result.movedBytes ?? 0);
      await source.assertSame(await diskNamed(name, 'vdb'));
      note(
        'full-clone',
        await coldSeconds(() => clone(portal, source, `${name}-full`, false).then(() => undefined)),
      );
      await deleteGuests(portal, [`${name}-full`]);
      note(
        'rsync-inplace',
        await coldSeconds(async () => {
          await execa('rsync', ['--inplace', '--no-whole-file', '--', data, copies.rsync]);
          await execa('sync', [copies.rsync]);
        }),
      );
      note(
        'qemu-img-default',
        await coldSeconds(async () => {
          await execa('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'qcow2', data, copies.convert]);
          await execa('sync', [copies.convert]);
        }),
      );
      await execa('qemu-img', ['convert', '-U', '-O', 'raw', data, copies.now]);
      note('hash-copy', await coldSeconds(() => hashCopy(copies.now, copies.hash)));
      await rm(copies.convert);
    }
    const unaligned = await withSmallWrites(portal, source, name, way);
    const middle = (peer: string): number => round(median(times.get(peer) ?? []));
    const [ours, full] = [middle('offshoot'), middle('full-clone')];
    return {
      id,
      unit: 's',
      ours,
      peers: {
        'full-clone': full,
        'rsync-inplace': middle('rsync-inplace'),
        'qemu-img-default': middle('qemu-img-default'),
        'hash-copy': middle('hash-copy'),
      },
      ratio: round(ours / full),
      of: 'full-clone',
      runs: lab.runs,
      movedBytes: median(moved),
      changedBytes: CHANGED_BYTES,
      unaligned,
      notes:
        `1.5 GiB of 4 GiB, 50 MiB changed in scattered 64 KiB blocks, source running and written to, cold, synced; moved ${round(median(moved) / CHANGED_BYTES)} × changed` +
        `; of ${round(unaligned.changedBytes / MIB, 1)} MiB in 4 KiB writes ${round(unaligned.movedBytes / unaligned.changedBytes, 1)} ×; hash-copy reads raw files of a source that stands still`,
    };
  } finally {
    await deleteGuests(portal, [name]);
    await source.remove();
    for (const path of [data, ...Object.values(copies)]) await rm(path, { force: true });
  }
}

/** Writes that are smaller than what a change record notes. */
async function withSmallWrites(
  portal: Portal,
  source: RunningSource,
  name: string,
  way: Way,
): Promise<{ changedBytes: number; movedBytes: number }> {
  const count = 600;
  await source.changeBlocks(count, 4096, 99);
  if (way === 'comparison') await source.dropRecords();
  const { movedBytes = 0 } = await refresh(portal, name);
  await source.assertSame(await diskNamed(name, 'vdb'));
  return { changedBytes: count * 4096, movedBytes };
}

/** A refresh by the source's change record. */
export const differential: Bench = {
  id: 'differential',
  title: 'refresh of a clone, 50 MiB of 1.5 GiB changed, source running, enqueue to finished',
  run: (lab) => measure(lab, 'differential', 'record'),
};

/** The same with the record destroyed: both sides are read. */
export const differentialNoBitmap: Bench = {
  id: 'differential-no-bitmap',
  title: 'the same refresh with the change record destroyed before it',
  run: (lab) => measure(lab, 'differential-no-bitmap', 'comparison'),
};
