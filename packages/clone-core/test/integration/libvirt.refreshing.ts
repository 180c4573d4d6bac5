/** How tests clone, change, refresh and put back on a lab's real libvirt, and what the database would know meanwhile. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  refreshOptionsSchema,
  type Generations,
  type OperationResult,
  type RefreshOptions,
} from '../../src/contract.ts';
import type { GuestRef, OperationRequest, Plan } from '../../src/driver.ts';
import type { Shell } from '../../src/shell/shell.ts';
import { cloneOf, finish, ownedBy, planOf } from '../conformance/workbench.ts';
import { command, contentOf, defineGuest, inGuest, sampleImage, virsh, type Lab } from './libvirt.lab.ts';

/** A clone and what the database would know of it. */
export interface Clone {
  guest: GuestRef;
  source: GuestRef;
  owned: string[];
  generations?: Generations;
}

/** What a finished plan leaves in the clone's row. */
export function record(
  clone: Clone,
  plan: Plan,
  { movedBytes, edited }: Pick<OperationResult, 'movedBytes' | 'edited'> = {},
): Clone {
  const gone = new Set(plan.removes ?? []);
  const generations = plan.generations && {
    ...plan.generations,
    list: plan.generations.list.map((each) =>
      each.at === '' && each.number === plan.generations?.current
        ? {
            ...each,
            at: new Date().toISOString(),
            ...(movedBytes === undefined ? {} : { movedBytes }),
            ...(edited ? { edited } : {}),
          }
        : each,
    ),
  };
  return {
    ...clone,
    owned: [...new Set([...clone.owned, ...ownedBy(plan)])].filter((path) => !gone.has(path)),
    ...(generations ? { generations } : {}),
  };
}

export const refreshOf = (
  clone: Clone,
  options: Partial<RefreshOptions> = {},
): OperationRequest & { kind: 'refresh' } => ({
  kind: 'refresh',
  guest: clone.guest,
  source: clone.source,
  owned: clone.owned,
  ...(clone.generations ? { generations: clone.generations } : {}),
  options: { ...refreshOptionsSchema.parse({}), ...options },
});

/** Of a clone with states: makes the present one whole. */
export const flatteningOf = ({
  guest,
  owned,
  generations,
}: Clone): OperationRequest & { kind: 'promote' } => ({
  kind: 'promote',
  guest,
  owned,
  ...(generations ? { generations } : {}),
});

export const diskOf = async (guest: GuestRef, target: string): Promise<string> => {
  const lines = (await virsh('domblklist', guest.uuid)).split('\n').map((line) => line.trim().split(/\s+/));
  return lines.find(([name]) => name === target)?.[1] ?? '';
};
/** Rejects when a guest would see something else in the clone's disk than in its source's. */
export const same = async (source: GuestRef, clone: Clone, target = 'vdb'): Promise<void> => {
  await command('qemu-img', 'compare', '-U', await diskOf(source, target), await diskOf(clone.guest, target));
};
export const checkpoints = async (guest: GuestRef): Promise<string[]> =>
  (await virsh('checkpoint-list', '--name', guest.uuid)).split('\n').filter((name) => name !== '');

/** The flush at the end also makes QEMU write the image's tables, which others can then read. */
export const write = (source: GuestRef, ...commands: string[]): Promise<string> =>
  inGuest(
    source.name,
    '/bin/sh',
    '-c',
    `${commands.join('; ')}; dd if=/dev/null of=/dev/vdb conv=notrunc,fsync 2>/dev/null`,
  );
export const random = (cluster: number, clusters = 1): string =>
  `dd if=/dev/urandom of=/dev/vdb bs=65536 seek=${cluster} count=${clusters} conv=notrunc 2>/dev/null`;
export const offline = async (source: GuestRef, ...commands: string[]): Promise<void> => {
  const words = commands.flatMap((each) => ['-c', each]);
  await command('qemu-io', '-f', 'qcow2', ...words, await diskOf(source, 'vdb'));
};

export type Refreshing = ReturnType<typeof refreshing>;

/** Everything that is done to clones of one lab. */
export function refreshing(lab: () => Lab, named: (name: string) => string) {
  let count = 0;
  const image = (name: string): string => join(lab().root, name);
  return {
    image,

    /** A guest with a system disk and 64 MiB of data, half of it in use. */
    makeSource: async (name: string, systemDisk = true): Promise<GuestRef> => {
      const data = image(`${name}-vdb.qcow2`);
      await command('qemu-img', 'create', '-q', '-f', 'qcow2', data, '64M');
      await command('qemu-io', '-f', 'qcow2', '-c', 'write -q -P 0x5a 0 32M', data);
      const disks = [{ target: 'vdb', path: data, format: 'qcow2' }];
      if (systemDisk) {
        await copyFile(await sampleImage(), image(`${name}-vda.qcow2`));
        disks.unshift({ target: 'vda', path: image(`${name}-vda.qcow2`), format: 'qcow2' });
      }
      const { uuid } = await defineGuest(lab(), { name: named(name), disks });
      return { uuid, name: named(name) };
    },

    cloned: async (source: GuestRef, name: string, refreshable = true): Promise<Clone> => {
      const driver = lab().driver();
      const plan = await planOf(driver, cloneOf(source, named(name), { refreshable }), name);
      const { result } = await finish(driver, plan);
      const guest = { uuid: plan.guest?.uuid ?? '', name: named(name) };
      return record({ guest, source, owned: [] }, plan, result);
    },

    refreshed: async (clone: Clone, options: Partial<RefreshOptions> = {}, chainBudget = 8) => {
      const driver = lab().driver({ chainBudget });
      const plan = await planOf(driver, refreshOf(clone, options), `refresh ${count++}`);
      const { result } = await finish(driver, plan);
      return { plan, result, clone: record(clone, plan, result) };
    },

    restored: async (clone: Clone, to: number): Promise<Clone> => {
      if (!clone.generations) throw new Error('no generations');
      const driver = lab().driver();
      const { guest, generations } = clone;
      const plan = await planOf(driver, { kind: 'restore', guest, generations, to }, `restore ${count++}`);
      await finish(driver, plan);
      return record(clone, plan);
    },

    deleted: async ({ guest, owned, source, generations }: Clone, shell?: Shell): Promise<void> => {
      const driver = lab().driver({}, shell);
      const request: OperationRequest = {
        kind: 'delete',
        guest,
        owned,
        source,
        ...(generations ? { generations } : {}),
      };
      await finish(driver, await planOf(driver, request, `delete ${count++}`));
    },

    contentNow: async (clone: Clone, target = 'vdb'): Promise<string> =>
      contentOf(lab(), await diskOf(clone.guest, target)),
  };
}
