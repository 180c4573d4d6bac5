/** Looks into the disks of a guest that stands still: what system is there, and what its clones would share. */
import { randomUUID } from 'node:crypto';
import { toOffshootError } from '../../errors.ts';
import type { GuestInside } from '../../identity/contract.ts';
import type { Shell } from '../../shell/shell.ts';
import { NeedsWindow } from './ext.ts';
import { isLinux, lookAtLinux } from './linux.ts';
import { isExt, isMountable, openVolume } from './open.ts';
import { Paths } from './paths.ts';
import { withDisks, type Session } from './session.ts';
import type { InsideDisk, LookOptions } from './types.ts';
import { volumesOf, type Volume } from './volumes.ts';
import { lookAtWindows } from './windows.ts';

/** Leftovers of a look whose worker died are removed after this, minutes. */
const STALE_MINUTES = '60';
/** What is wrong with a guest's disk, not with the host. */
const ODD = new Set(['unsupported-disk', 'source-encrypted']);

/** A host that lacks a program or a right can still clone: its guests are unknown. */
const UNABLE = new Set(['not-found', 'permission']);

/**
 * Reads only: what it has to repair to read (a journal) is repaired in a temporary layer, and a disk that is in use is not
 * held. An odd guest, and one on a host that lacks a program or a right, is kind `unknown` with the reason. Throws only for
 * `source-unreadable` (a disk's file or what it stands on), `no-space`, `host-unreachable`, `timeout` and an abort.
 */
export async function lookInside(
  shell: Shell,
  disks: readonly InsideDisk[],
  options: LookOptions,
): Promise<GuestInside> {
  const { store, signal } = options;
  signal.throwIfAborted();
  if (disks.length === 0) return unknown('it has no disk');
  const scratch = `${store}/.inside-${randomUUID()}`;
  try {
    const [inside] = await Promise.all([
      withDisks(shell, { disks, scratch, shared: true }, signal, (session) =>
        lookAt(session, disks, options),
      ),
      sweep(shell, store, signal),
    ]);
    if (!('later' in inside)) return inside;
    for (const [index, volume] of inside.later.entries()) {
      const { target, offset, size } = volume;
      const found = await withDisks(
        shell,
        {
          disks: disks.filter((disk) => disk.target === target),
          scratch: `${scratch}/alone-${index}`,
          shared: true,
          ...(size > 0 ? { window: { offset, size } } : {}),
        },
        signal,
        (session) =>
          volume.type === 'ntfs'
            ? lookAtWindows(session, volume)
            : lookAtVolume(session, { ...volume, offset: 0, size: 0 }, volume, inside.volumes, options),
      );
      if (found) return found;
    }
    return unknown(NO_SYSTEM);
  } catch (thrown) {
    const error = toOffshootError(thrown);
    if (UNABLE.has(error.code)) return unknown(reason(error.publicMessage));
    if (!ODD.has(error.code)) throw thrown;
    return unknown(
      error.code === 'source-encrypted' ? 'its disk is encrypted' : 'its filesystem can’t be opened',
    );
  } finally {
    await shell.run(['rm', '-rf', '--', scratch]);
  }
}

async function sweep(shell: Shell, store: string, signal: AbortSignal): Promise<void> {
  await shell.run(
    [
      'find',
      store,
      '-maxdepth',
      '1',
      '-name',
      '.inside-*',
      '-mmin',
      `+${STALE_MINUTES}`,
      '-exec',
      'rm',
      '-rf',
      '--',
      '{}',
      '+',
    ],
    { signal, okCodes: [0, 1] },
  );
}

/** Volumes that have to be opened again, each alone: ntfs-3g knows no offset, and see `NeedsWindow`. */
interface Later {
  later: Volume[];
  volumes: Volume[];
}

async function lookAt(
  session: Session,
  disks: readonly InsideDisk[],
  options: LookOptions,
): Promise<GuestInside | Later> {
  const volumes = (await Promise.all(disks.map(({ target }) => volumesOf(session, target)))).flat();
  const later: Volume[] = [];
  let damaged: string | undefined;
  for (const volume of volumes) {
    if (volume.scattered === true || !(isExt(volume.type) || isMountable(volume.type))) continue;
    try {
      const found = await lookAtVolume(session, volume, volume, volumes, options);
      if (found) return found;
    } catch (thrown) {
      if (thrown instanceof NeedsWindow) {
        later.push(volume);
        continue;
      }
      const error = toOffshootError(thrown);
      if (!TOLERATED.has(error.code)) throw thrown;
      damaged ??=
        error.code === 'unsupported-disk' ? 'its filesystem can’t be opened' : reason(error.publicMessage);
    }
  }
  later.push(...volumes.filter(({ type }) => type === 'ntfs').toSorted((a, b) => b.size - a.size));
  if (later.length > 0) return { later, volumes };
  return unknown(damaged ?? whyNot(volumes));
}

/** `shown`: as the session shows it, `volume`: where it is on the disk. Undefined: no Linux is on it. */
async function lookAtVolume(
  session: Session,
  shown: Volume,
  volume: Volume,
  volumes: readonly Volume[],
  options: LookOptions,
): Promise<GuestInside | undefined> {
  for (const subvolume of volume.type === 'btrfs' ? [undefined, ...SUBVOLUMES] : [undefined]) {
    const opened = await openVolume(session, shown, subvolume).catch((thrown: unknown) => {
      if (subvolume !== undefined && toOffshootError(thrown).code === 'unsupported-disk') return undefined;
      throw thrown;
    });
    const paths = opened && new Paths(opened.tree);
    if (!paths || !(await isLinux(paths))) continue; // there is no such subvolume, or no system in it
    const { target, offset, size, type, lvm } = volume;
    const inside = await lookAtLinux(paths, volumes, options.agents);
    const notEditable = opened.notEditable ?? inside.notEditable;
    return {
      ...inside,
      root: {
        target,
        filesystem: type === 'xfs' || type === 'btrfs' ? type : 'ext4',
        offset,
        sizeBytes: size,
        ...(lvm ? { lvm } : {}),
        ...(subvolume === undefined ? {} : { subvolume }),
      },
      ...(notEditable === undefined ? {} : { notEditable }),
    };
  }
  return undefined;
}

/** Where distributions put `/` on btrfs, besides the default subvolume. */
const SUBVOLUMES = ['@', 'root', '@rootfs', '@/.snapshots/1/snapshot'];
/** Of one volume: others may still hold the system. `not-found`, `permission`: this host can't open its kind. */
const TOLERATED = new Set(['unsupported-disk', 'not-found', 'permission', 'busy']);

const NO_SYSTEM = 'no system that is known here is on its disks';

const reason = (sentence: string): string =>
  (sentence.charAt(0).toLowerCase() + sentence.slice(1)).replace(/\.$/, '');

function whyNot(volumes: readonly Volume[]): string {
  const types = new Set(volumes.map(({ type }) => type));
  if (types.has('crypto_LUKS') || types.has('BitLocker')) return 'its disk is encrypted';
  if (volumes.some(({ scattered }) => scattered === true)) return 'its logical volumes are in several pieces';
  if (types.has('linux_raid_member')) return 'its disks are a software RAID';
  if (types.has('zfs_member')) return 'its system is on ZFS';
  if (volumes.every(({ type }) => type === '')) return 'nothing that is known here is on its disks';
  return NO_SYSTEM;
}

const unknown = (why: string): GuestInside => ({ kind: 'unknown', why, agent: false, found: [], agents: [] });
