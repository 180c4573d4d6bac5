/** Step: makes copied disks an immutable base, named by its content. */
import type { BaseDisk, CapturedBase } from '../../../contract.ts';
import { keepList, listPathOf, measure, rootOf } from '../../../disks/transfer/block-list.ts';
import { lookInside } from '../../../disks/inside/look.ts';
import type { Progress, StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { GuestInside } from '../../../identity/contract.ts';
import { fileError } from '../../../shell/failures.ts';
import type { Shell } from '../../../shell/shell.ts';
import { needsOf } from '../domain-read.ts';
import { refuseUsed, type Reader } from '../inspect.ts';
import { readHead } from '../save-image.ts';
import type { SealStep } from '../types.ts';
import { baseDigest, readManifest, writeManifest, type Manifest } from './manifest.ts';
import { removeEmpty } from './own-files.ts';
import { reporting } from './reporting.ts';
import { sha256 } from './sha256.ts';

export function sealStep(
  reader: Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store' | 'peers'>,
): StepHandler<SealStep> {
  const { shell } = reader;
  return {
    run: (step, context) =>
      reporting(async (report) => {
        report({ doneBytes: 0, totalBytes: step.bytes });
        const sealed = await findSealed(shell, step);
        // Of a run that was cut once it had joined a base of the same content.
        if (sealed) await removeUnsealed(shell, step, context.signal);
        const manifest = sealed ?? (await seal(reader, step, context, report));
        const allocated = manifest.disks.reduce((sum, disk) => sum + disk.allocatedBytes, 0);
        const base = await baseOf(shell, manifest, step.definition, context.signal);
        const inside = await look(reader, base, context);
        context.result({
          base: { ...base, ...(inside ? { inside } : {}) },
          storedBytes: allocated + (manifest.memory?.bytes ?? 0),
        });
        report({ doneBytes: step.bytes, totalBytes: step.bytes });
      }),
    async undo(step, { signal }) {
      const unsealed = await removeUnsealed(shell, step, signal);
      const removed = await removeSealed(reader, step, signal);
      return removed ?? (unsealed ? 'deleted the copied disks' : undefined);
    },
  };
}

/** Takes a base away that this capture or transfer made, unless another one made the same. Throws `in-use`. */
export async function removeSealed(
  reader: Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store'>,
  step: Pick<SealStep, 'into' | 'captureId'>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { shell } = reader;
  const sealed = await findSealed(shell, step);
  if (!sealed) return undefined;
  const folder = folderFor(step, sealed.digest);
  const others = sealed.captureIds.filter((id) => id !== step.captureId);
  if (others.length > 0) {
    await writeManifest(shell, folder, { ...sealed, captureIds: others });
    return undefined; // the same content was captured before: that base stays
  }
  await refuseUsed(
    reader,
    `base ${sealed.digest.slice(0, 12)}`,
    sealed.disks.map((disk) => disk.path),
    signal,
  );
  for (const { path } of sealed.disks) for (const each of [path, listPathOf(path)]) await shell.remove(each);
  if (sealed.nvramPath !== undefined) await shell.remove(sealed.nvramPath);
  if (sealed.memory) await shell.remove(sealed.memory.path);
  await shell.remove(`${folder}/base.json`);
  await removeEmpty(shell, folder, signal);
  return `deleted the base ${sealed.digest.slice(0, 12)}`;
}

const folderFor = (step: Pick<SealStep, 'into'>, digest: string): string =>
  `${step.into}/${digest.slice(0, 12)}`;
/** Undefined when it can't be looked into now: that takes nothing from what was sealed. */
async function look(
  { shell, store }: Pick<Reader, 'shell' | 'store'>,
  base: CapturedBase,
  context: StepContext,
): Promise<GuestInside | undefined> {
  const { signal } = context;
  try {
    return await lookInside(shell, base.disks, { store, signal });
  } catch (thrown) {
    if (signal.aborted || !(thrown instanceof OffshootError) || thrown.code === 'host-unreachable')
      throw thrown;
    context.log(`Its disks were not looked into: ${thrown.publicMessage}`);
    return undefined;
  }
}

async function baseOf(
  shell: Shell,
  { digest, disks, nvramPath, memory }: Manifest,
  definition: string,
  signal: AbortSignal,
): Promise<CapturedBase> {
  return {
    digest,
    definition,
    needs: needsOf(definition),
    disks,
    ...(nvramPath === undefined ? {} : { nvramPath }),
    // Not in the manifest, which anyone may read: a definition may hold a display's password.
    ...(memory === undefined
      ? {}
      : { memory: { ...memory, resume: JSON.stringify(await readHead(shell, memory.path, signal)) } }),
  };
}

async function seal(
  { shell, peers }: Pick<Reader, 'shell' | 'peers'>,
  step: SealStep,
  context: StepContext,
  report: (progress: Progress) => void,
): Promise<Manifest> {
  const digests: {
    target: string;
    file: string;
    digest: string;
    blocks?: string;
    virtualBytes: number;
    allocatedBytes: number;
  }[] = [];
  let done = 0;
  const memory = step.memory && sealMemory(shell, step, step.memory, context.signal);
  memory?.catch(() => undefined); // awaited below, also when a disk can't be read
  for (const disk of step.disks) {
    const path = `${step.from}/${disk.file}`;
    const reading = (bytes: number): void =>
      report({
        doneBytes: Math.min(done + bytes, step.bytes),
        totalBytes: step.bytes,
        note: `reading ${disk.target}`,
      });
    reading(0);
    const stat = await shell.stat(path);
    if (!stat)
      throw new OffshootError('internal', {
        publicMessage: `The copied disk ${disk.target} is gone from the store.`,
        remedy: 'Retry.',
        context: { path },
      });
    digests.push({
      ...disk,
      // Without peers the host may be another machine, and nobody asks for blocks.
      ...(peers
        ? await measured(shell, path, context, reading)
        : { digest: await sha256(shell, path, context.signal) }),
      allocatedBytes: stat.allocated,
    });
    done += stat.allocated;
  }
  const nvram =
    step.nvramFile === undefined
      ? undefined
      : await sha256(shell, `${step.from}/${step.nvramFile}`, context.signal);
  const point = await memory;
  const digest = baseDigest({ disks: digests, nvram, memory: point?.digest, definition: step.definition });
  const folder = folderFor(step, digest);
  const manifest: Manifest = {
    captureIds: [step.captureId],
    digest,
    disks: digests.map(({ file, ...disk }): BaseDisk => ({
      ...disk,
      path: `${folder}/${file}`,
      format: file.endsWith('.raw') ? 'raw' : 'qcow2',
    })),
    ...(step.nvramFile === undefined ? {} : { nvramPath: `${folder}/${step.nvramFile}` }),
    ...(point === undefined || step.memory === undefined
      ? {}
      : { memory: { ...point, path: `${folder}/${step.memory.file}` } }),
  };
  const known = await readManifest(shell, folder);
  if (known) return joinKnown(shell, step, known, context);
  for (const disk of step.disks) await shell.chmod(`${step.from}/${disk.file}`, 0o444);
  if (step.nvramFile !== undefined) await shell.chmod(`${step.from}/${step.nvramFile}`, 0o444);
  // Unlike the disks: what is in a guest's memory (keys, passwords) is nobody else's to read.
  if (step.memory !== undefined) await shell.chmod(`${step.from}/${step.memory.file}`, 0o400);
  await writeManifest(shell, step.from, manifest);
  await shell.rename(step.from, folder);
  return manifest;
}

/** Read once for the digest of the file and for those of its blocks, which are kept beside it. */
async function measured(
  shell: Shell,
  path: string,
  context: StepContext,
  reading: (bytes: number) => void,
): Promise<{ digest: string; blocks: string }> {
  const { digest, list } = await measure(path, context.signal, reading).catch((thrown: unknown) => {
    if (!(thrown instanceof Error && 'code' in thrown) || thrown instanceof OffshootError) throw thrown;
    throw fileError(String(thrown.code), path, shell.where, thrown);
  });
  await keepList(shell, path, list);
  return { digest, blocks: rootOf(list) };
}

async function sealMemory(
  shell: Shell,
  step: SealStep,
  { file, memoryBytes, madeOn }: NonNullable<SealStep['memory']>,
  signal: AbortSignal,
): Promise<NonNullable<Manifest['memory']>> {
  const path = `${step.from}/${file}`;
  const [stat, digest] = await Promise.all([shell.stat(path), sha256(shell, path, signal)]);
  return {
    path,
    digest,
    bytes: stat?.size ?? 0,
    memoryBytes,
    takenAt: new Date(stat?.modifiedMs ?? 0).toISOString(),
    madeOn,
  };
}

/** The base's own file may have gone bad since it was sealed: then the fresh copy of the same content takes its place. */
async function mend(
  shell: Shell,
  step: SealStep,
  { target, file }: SealStep['disks'][number],
  { disks }: Manifest,
  context: StepContext,
): Promise<void> {
  const known = disks.find((disk) => disk.target === target);
  if (!known) return;
  const there = await shell.stat(known.path);
  if (there && (await sha256(shell, known.path, context.signal)) === known.digest) return;
  const fresh = `${step.from}/${file}`;
  await shell.chmod(fresh, 0o444);
  await shell.run(['ln', '-f', '--', fresh, `${known.path}.partial`], { signal: context.signal });
  await shell.rename(`${known.path}.partial`, known.path);
  context.log(`${known.path} was ${there ? 'damaged' : 'gone'}; it is whole again.`);
}

/** The same content is there already: one base serves both. */
async function joinKnown(
  shell: Shell,
  step: SealStep,
  known: Manifest,
  context: StepContext,
): Promise<Manifest> {
  for (const disk of step.disks) await mend(shell, step, disk, known, context);
  const joined = { ...known, captureIds: [...new Set([...known.captureIds, step.captureId])] };
  await writeManifest(shell, folderFor(step, known.digest), joined);
  await removeUnsealed(shell, step, context.signal);
  context.log(`The host already has a base of this content: ${known.digest.slice(0, 12)}.`);
  return joined;
}

async function removeUnsealed(shell: Shell, step: SealStep, signal: AbortSignal): Promise<boolean> {
  if ((await shell.stat(step.from))?.type !== 'directory') return false;
  for (const file of [
    ...step.disks.flatMap((disk) => [disk.file, listPathOf(disk.file)]),
    ...(step.nvramFile === undefined ? [] : [step.nvramFile]),
    ...(step.memory === undefined ? [] : [step.memory.file]),
    'base.json',
  ])
    await shell.remove(`${step.from}/${file}`);
  await removeEmpty(shell, step.from, signal);
  return true;
}

async function findSealed(
  shell: Shell,
  step: Pick<SealStep, 'into' | 'captureId'>,
): Promise<Manifest | undefined> {
  if ((await shell.stat(step.into))?.type !== 'directory') return undefined;
  for (const name of await shell.list(step.into)) {
    if (name.startsWith('.')) continue;
    const manifest = await readManifest(shell, `${step.into}/${name}`);
    if (manifest?.captureIds.includes(step.captureId)) return manifest;
  }
  return undefined;
}
