/** Step: takes a base from another host, checks it against its digest, and gives it its name. */
import type { CapturedBase, TransferOutcome } from '../../../contract.ts';
import { readChain } from '../../../disks/chain.ts';
import { keepList, listOf, listPathOf } from '../../../disks/transfer/block-list.ts';
import { fetchFile } from '../../../disks/transfer/fetch.ts';
import type { Peers } from '../../../disks/transfer/peers.ts';
import type { Incoming } from '../../../disks/transfer/receiving.ts';
import type { Progress, StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import { needsOf } from '../domain-read.ts';
import type { Reader } from '../inspect.ts';
import type { FetchBaseStep } from '../types.ts';
import { partial, removeEmpty, removeOwn } from './own-files.ts';
import { reporting } from './reporting.ts';
import { sha256 } from './sha256.ts';
import { baseDigest, readManifest, writeManifest, type Manifest } from './manifest.ts';
import { removeSealed } from './seal.ts';

interface Wanted {
  file: string;
  digest?: string;
  /** Of a disk: what names the list of its blocks. */
  blocks?: string;
}

export function fetchBaseStep(
  reader: Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store'>,
  peers: Peers | undefined,
): StepHandler<FetchBaseStep> {
  const { shell } = reader;
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const folder = folderOf(step);
        const known = await readManifest(shell, folder);
        const mine = known?.captureIds.includes(step.captureId) === true;
        if (known?.digest === step.digest && (mine || !step.replace)) {
          // Already here, or this transfer was cut after its last effect.
          if (!mine)
            await writeManifest(shell, folder, {
              ...known,
              captureIds: [...known.captureIds, step.captureId],
            });
          await removeArrived(shell, step, context.signal);
          context.result({ base: resultOf(step, known), movedBytes: 0, strategy: 'transfer' });
          return;
        }
        if (!peers) throw noPeers();
        await shell.mkdir(step.from);
        const incoming: Incoming[] = [];
        try {
          await fetchAll(shell, peers, step, context, report, incoming);
          const manifest = await place(shell, step, known, context.signal);
          for (const each of incoming) each.done();
          context.result({
            base: resultOf(step, manifest),
            storedBytes: manifest.disks.reduce(
              (sum, disk) => sum + disk.allocatedBytes,
              step.memory?.bytes ?? 0,
            ),
          });
        } finally {
          for (const each of incoming) each.fail();
        }
      }),
    async undo(step, { signal }) {
      const arrived = await removeArrived(shell, step, signal);
      const removed = await removeSealed(reader, step, signal);
      return removed ?? (arrived ? 'deleted what had arrived' : undefined);
    },
  };
}

const folderOf = (step: FetchBaseStep): string => `${step.into}/${step.digest.slice(0, 12)}`;

const filesOf = (step: FetchBaseStep): Wanted[] => [
  ...step.disks.map(({ file, digest, blocks }) => ({
    file,
    digest,
    ...(blocks === undefined ? {} : { blocks }),
  })),
  ...(step.nvramFile === undefined ? [] : [{ file: step.nvramFile }]),
  ...(step.memory === undefined ? [] : [{ file: step.memory.file, digest: step.memory.digest }]),
];

/** All that is in the base's folder. */
const namesOf = (step: FetchBaseStep): string[] => [
  ...filesOf(step).map(({ file }) => file),
  ...step.disks.map(({ file }) => listPathOf(file)),
  'base.json',
];

/** Each file arrives under another name; it gets its own when its digest is right. */
async function fetchAll(
  shell: Shell,
  peers: Peers,
  step: FetchBaseStep,
  context: StepContext,
  report: (progress: Progress) => void,
  incoming: Incoming[],
): Promise<void> {
  const sum: TransferOutcome = { receivedBytes: 0, reusedBytes: 0, from: [], interruptions: 0, damaged: [] };
  const old = step.replace ? filesOf(step).map(({ file }) => `${folderOf(step)}/${file}`) : [];
  const older: string[] = [];
  for (const path of [...old, ...step.older]) if ((await shell.stat(path))?.type === 'file') older.push(path);
  let before = 0;
  for (const { file, digest, blocks } of filesOf(step)) {
    const path = `${step.from}/${file}`;
    const begun = peers.receiving.begin(step.digest, file, partial(path));
    incoming.push(begun);
    const whole = await shell.stat(path);
    if (whole) {
      // Of an earlier run: checked then. Whoever waits for it finds it when the base has its name.
      before += whole.size;
      continue;
    }
    const fetched = await fetchFile(
      {
        base: step.digest,
        file,
        to: partial(path),
        ...(digest === undefined ? {} : { digest }),
        ...(blocks === undefined ? {} : { blocks }),
      },
      {
        sources: step.sources.filter(({ hostId }) => !sum.damaged.includes(hostId)),
        connect: (source, signal) => peers.connect(source, signal),
        older,
        listOf: (each, onBytes) => listOf(each, shell, (line) => context.log(line), onBytes),
        incoming: begun,
        sync: (each) => shell.sync(each),
        report: (done, _total, note) =>
          report({ doneBytes: before + done, totalBytes: Math.max(step.bytes, before + done), note }),
        log: (line) => context.log(line),
        ...(step.bytesPerSecond === undefined ? {} : { bytesPerSecond: step.bytesPerSecond }),
        signal: context.signal,
      },
    ).catch((thrown: unknown) => {
      const damaged = damagedIn(thrown);
      if (damaged.length > 0)
        context.result({ transfer: { ...sum, damaged: [...new Set([...sum.damaged, ...damaged])] } });
      throw thrown;
    });
    await shell.rename(partial(path), path);
    if (fetched.list) await keepList(shell, path, fetched.list);
    before += fetched.bytes;
    sum.receivedBytes += fetched.receivedBytes;
    sum.reusedBytes += fetched.reusedBytes;
    sum.interruptions += fetched.interruptions;
    sum.from = [...new Set([...sum.from, ...fetched.from])];
    sum.damaged = [...new Set([...sum.damaged, ...fetched.damaged])];
    context.result({ transfer: sum, movedBytes: sum.receivedBytes, strategy: 'transfer' });
  }
}

function damagedIn(thrown: unknown): string[] {
  const damaged = thrown instanceof OffshootError ? thrown.context['damaged'] : undefined;
  return Array.isArray(damaged) ? damaged.map(String) : [];
}

async function place(
  shell: Shell,
  step: FetchBaseStep,
  damaged: Manifest | undefined,
  signal: AbortSignal,
): Promise<Manifest> {
  const folder = folderOf(step);
  const nvram =
    step.nvramFile === undefined ? undefined : await sha256(shell, `${step.from}/${step.nvramFile}`, signal);
  const digest = baseDigest({
    disks: step.disks,
    nvram,
    memory: step.memory?.digest,
    definition: step.definition,
  });
  if (digest !== step.digest)
    throw new OffshootError('source-unreadable', {
      publicMessage: 'What arrived is not that base: its digest is another.',
      remedy: 'Make a new version of the template.',
      context: { digest, wanted: step.digest },
    });
  for (const disk of step.disks) await refuseStanding(shell, `${step.from}/${disk.file}`, disk, signal);
  const disks = await Promise.all(
    step.disks.map(async ({ file, ...disk }) => {
      const stat = await shell.stat(`${step.from}/${file}`);
      return { ...disk, path: `${folder}/${file}`, allocatedBytes: stat?.allocated ?? 0 };
    }),
  );
  const { memory, nvramFile } = step;
  const manifest: Manifest = {
    captureIds: [...new Set([...(damaged?.captureIds ?? []), step.captureId])],
    digest,
    disks,
    ...(nvramFile === undefined ? {} : { nvramPath: `${folder}/${nvramFile}` }),
    ...(memory === undefined ? {} : { memory: pointOf(memory, folder) }),
  };
  for (const { file } of filesOf(step))
    await shell.chmod(`${step.from}/${file}`, file === memory?.file ? 0o400 : 0o444);
  await writeManifest(shell, step.from, manifest);
  if (damaged) await replaceFiles(shell, step, signal);
  else await shell.rename(step.from, folder);
  return manifest;
}

/** The other host says what is in its files: one that names a file of this host would show it to guests here. */
async function refuseStanding(
  shell: Shell,
  path: string,
  { target, format }: { target: string; format: string },
  signal: AbortSignal,
): Promise<void> {
  const [file, ...below] = await readChain(shell, { path, format, label: `disk ${target}` }, signal);
  if (file && below.length === 0 && !file.externalData) return;
  throw new OffshootError('source-unreadable', {
    publicMessage: `Disk ${target} of what arrived stands on another file, as no base does. Nothing is made of it.`,
    remedy: 'Look at the host that the base was made on, and make a new version of the template.',
  });
}

/** Guests that run on the damaged files keep them open until they stop; whoever opens them from now on gets good ones. */
async function replaceFiles(shell: Shell, step: FetchBaseStep, signal: AbortSignal): Promise<void> {
  for (const file of namesOf(step))
    if (await shell.stat(`${step.from}/${file}`))
      await shell.rename(`${step.from}/${file}`, `${folderOf(step)}/${file}`);
  await removeEmpty(shell, step.from, signal);
}

const pointOf = (
  { file, digest, bytes, memoryBytes, takenAt, madeOn }: NonNullable<FetchBaseStep['memory']>,
  folder: string,
): NonNullable<Manifest['memory']> => ({
  path: `${folder}/${file}`,
  digest,
  bytes,
  memoryBytes,
  takenAt,
  madeOn,
});

function resultOf(step: FetchBaseStep, manifest: Manifest): CapturedBase {
  const { digest, disks, nvramPath, memory } = manifest;
  return {
    digest,
    definition: step.definition,
    needs: needsOf(step.definition),
    disks,
    ...(nvramPath === undefined ? {} : { nvramPath }),
    ...(memory === undefined || step.memory === undefined
      ? {}
      : { memory: { ...memory, resume: step.memory.resume } }),
  };
}

async function removeArrived(shell: Shell, step: FetchBaseStep, signal: AbortSignal): Promise<boolean> {
  const paths = namesOf(step).map((file) => `${step.from}/${file}`);
  const removed = await removeOwn(shell, paths, step.from, signal);
  return removed.length > 0;
}

const noPeers = (): OffshootError =>
  new OffshootError('unavailable-mode', {
    publicMessage: 'This worker takes no bases from other hosts.',
    remedy: 'Set OFFSHOOT_PEER_ADDRESS to the host’s address.',
  });
