/** Opens what `lookInside` found, by the kind of its filesystem. */
import { OffshootError } from '../../errors.ts';
import { openExt } from './ext.ts';
import { openMounted } from './mounted.ts';
import type { Session } from './session.ts';
import type { Tree } from './tree.ts';
import type { InsideRoot } from './types.ts';
import { probe, type Volume } from './volumes.ts';

export const isExt = (type: string): boolean => /^ext[234]$/.test(type);
export const isMountable = (type: string): boolean => type === 'xfs' || type === 'btrfs';

export interface Opened {
  tree: Tree;
  /** Why it can't be edited, as the end of a sentence. */
  notEditable?: string;
}

/** Throws as `openExt` and `openMounted`. */
export async function openVolume(session: Session, volume: Volume, subvolume?: string): Promise<Opened> {
  if (!isExt(volume.type)) return { tree: await openMounted(session, volume, subvolume) };
  const tree = await openExt(session, volume);
  return { tree, ...(tree.notEditable === undefined ? {} : { notEditable: tree.notEditable }) };
}

/** The part of the disk that a session must show for `openRoot`. */
export const windowOf = ({ offset, sizeBytes }: InsideRoot): { window?: { offset: number; size: number } } =>
  sizeBytes > 0 ? { window: { offset, size: sizeBytes } } : {};

/** The session shows that part of the disk alone (`windowOf`). Throws `source-changed` when something else is at that place now, and as `openVolume`. */
export async function openRoot(session: Session, root: InsideRoot): Promise<Opened> {
  const { target, filesystem, subvolume } = root;
  const volume = await probe(session, { target, offset: 0, size: 0, type: '' });
  const same = isExt(volume.type) ? filesystem === 'ext4' : volume.type === filesystem;
  if (!same || filesystem === 'ntfs')
    throw new OffshootError('source-changed', {
      publicMessage: `The filesystem that was found on the guest’s disk ${target} is not there any more.`,
      remedy: 'Begin again: the disk is looked into anew.',
      context: { root, found: volume.type },
    });
  return openVolume(session, volume, subvolume);
}
