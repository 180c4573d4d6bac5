/** Generations of a clone: where their files are, and when the source can note what changes. Pure. */
import type { Generations } from '../../contract.ts';
import type { OperationRequest } from '../../driver.ts';
import type { CloneFacts, SourceFacts } from './types.ts';

/** Files per disk that a read may go through: a clone's own, its layer, the states a refresh may be asked to keep, one to spare. */
export const CHAIN_BUDGET = 8;

/** Disks whose file is qcow2 can note what is written to them; beside snapshots libvirt keeps no such record. */
export function whyNoRecord(source: SourceFacts): string | undefined {
  const other = source.disks.find((disk) => disk.format !== 'qcow2');
  if (other) return `disk ${other.target} of the source is ${other.format}, which can’t note changes`;
  if (source.snapshots.length > 0)
    return 'the source has snapshots, and libvirt keeps no change records beside those';
  if (source.state === 'paused') return 'the source was paused';
  return undefined;
}

/** Paths of one disk of a generation, in the clone's folder. */
export const layerPaths = (
  folder: string,
  target: string,
  number: number,
  format = 'qcow2',
): { layer: string; own: string } => ({
  layer: `${folder}/${target}.g${number}.${format}`,
  own: `${folder}/${target}.g${number}.own.qcow2`,
});

/** Folder and target of a clone's own file on its layers; undefined: the path is none. */
export function layeredDisk(path: string): [folder: string, target: string] | undefined {
  const found = /^(.*)\/([^/]+)\.g\d+\.own\.qcow2$/.exec(path);
  return found?.[1] !== undefined && found[2] !== undefined ? [found[1], found[2]] : undefined;
}

export const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/'));

export const activeOf = (clone: CloneFacts, target: string): CloneFacts['active'][string] =>
  clone.active[target] ?? { path: '', format: 'qcow2', virtualBytes: 0 };

/** Files of one disk of a generation, its own one first. */
export const chainOf = (
  clone: CloneFacts,
  number: number,
  target: string,
): { path: string; format: string }[] =>
  clone.generations.find((each) => each.number === number)?.chains[target] ?? [];

/** Bytes that the guest may have written; what it got to be itself is none of them. */
export const wroteItself = ({ ownBytes, editedBytes }: CloneFacts): number =>
  (ownBytes ?? 0) - (editedBytes ?? 0);

/**
 * Nothing was written to it since its last cloning, its own identity neither, and nothing is to be left out of it: inside
 * it is what its layers hold, and what its new layers hold it may be.
 */
export const isUntouched = (
  { generations, clean = [] }: Pick<Extract<OperationRequest, { kind: 'refresh' }>, 'generations' | 'clean'>,
  clone: CloneFacts,
): boolean => generations !== undefined && clone.ownBytes === 0 && clean.length === 0;

/** A clone that was never refreshed and not made for it: its file is the bottom layer, its own writes in it. */
export function flat(clone: CloneFacts): Generations {
  const disks = Object.entries(clone.active).map(([target, { path }]) => ({
    target,
    layer: path,
    own: layerPaths(folderOf(path), target, 0).own,
    sourcePath: '',
  }));
  return {
    current: 0,
    next: 1,
    list: [{ number: 0, at: '', kept: false, noRecord: 'none was begun when it was cloned', disks }],
  };
}

/**
 * What the row says, with the state that the guest's definition really names as the present one: an exchange of disks whose
 * undo failed leaves either. Undefined when the definition names the file that it had before its first refresh.
 */
export function asDefined(
  generations: Generations | undefined,
  active: Readonly<Record<string, { path: string }>>,
): Generations | undefined {
  const names = (file: 'layer' | 'own') => (each: Generations['list'][number]) =>
    each.disks.length > 0 && each.disks.every((disk) => active[disk.target]?.path === disk[file]);
  const current = generations?.list.find(names('own'));
  if (generations && current) return { ...generations, current: current.number };
  const first = generations?.list.find(({ number }) => number === 0);
  return first && names('layer')(first) ? undefined : generations;
}
