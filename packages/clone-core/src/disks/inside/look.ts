/** Looks into the disks of a guest that stands still: what system is there, and what its clones would share. */
import { randomUUID } from 'node:crypto';
import { toOffshootError } from '../../errors.ts';
import type { GuestInside } from '../../identity/contract.ts';
import type { Shell } from '../../shell/shell.ts';
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
    await sweep(shell, store, signal);
    const inside = await withDisks(shell, { disks, scratch, shared: true }, signal, (session) =>
      lookAt(session, disks, options),
    );
    if (!('ntfs' in inside)) return inside;
    for (const [index, volume] of inside.ntfs.entries()) {
      const { target, offset, size } = volume;
      const found = await withDisks(
        shell,
        {
          disks: disks.filter((disk) => disk.target === target),
          scratch: `${scratch}/ntfs-${index}`,
          shared: true,
          // ntfs-3g knows no offset: the disk is opened again, as that volume alone.
          ...(size > 0 ? { window: { offset, size } } : {}),
        },
        signal,
        (session) => lookAtWindows(session, volume),
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

async function lookAt(
  session: Session,
  disks: readonly InsideDisk[],
  options: LookOptions,
): Promise<GuestInside | { ntfs: Volume[] }> {
  const volumes = (await Promise.all(disks.map(({ target }) => volumesOf(session, target)))).flat();
  let damaged: string | undefined;
  for (const volume of volumes) {
    if (volume.scattered === true || !(isExt(volume.type) || isMountable(volume.type))) continue;
    for (const subvolume of volume.type === 'btrfs' ? [undefined, ...SUBVOLUMES] : [undefined]) {
      try {
        const opened = await openVolume(session, volume, subvolume);
        const paths = new Paths(opened.tree);
        if (!(await isLinux(paths))) continue;
        const { target, offset, size } = volume;
        const inside = await lookAtLinux(paths, volumes, options.agents);
        const notEditable = opened.notEditable ?? inside.notEditable;
        return {
          ...inside,
          root: {
            target,
            filesystem: volume.type === 'xfs' || volume.type === 'btrfs' ? volume.type : 'ext4',
            offset,
            sizeBytes: size,
            ...(volume.lvm ? { lvm: volume.lvm } : {}),
            ...(subvolume === undefined ? {} : { subvolume }),
          },
          ...(notEditable === undefined ? {} : { notEditable }),
        };
      } catch (thrown) {
        const error = toOffshootError(thrown);
        if (subvolume !== undefined && error.code === 'unsupported-disk') continue; // it has no such subvolume
        if (!TOLERATED.has(error.code)) throw thrown;
        damaged ??=
          error.code === 'unsupported-disk' ? 'its filesystem can’t be opened' : reason(error.publicMessage);
      }
    }
  }
  const ntfs = volumes.filter(({ type }) => type === 'ntfs').toSorted((a, b) => b.size - a.size);
  if (ntfs.length > 0) return { ntfs };
  return unknown(damaged ?? whyNot(volumes));
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
