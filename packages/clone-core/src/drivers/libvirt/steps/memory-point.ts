/**
 * Step: saves the memory of a running guest while it runs, and at the end, in the moment it stands still for that, has
 * its disks stand still too: from then on it writes beside them. Undo puts everything back as it was.
 */
import type { Progress, StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Definitions } from '../definitions.ts';
import { readDomain } from '../domain-read.ts';
import type { MemoryPointStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { deleted, folderOf, removeOwn } from './own-files.ts';
import { rejoin } from './rejoin.ts';
import { pause, reporting } from './reporting.ts';

const LOOK_MS = 50;
/** A guest that changes its memory faster than the disk takes it would be saved for ever; then the save is given up. */
const LONGEST_SAVE_MS = 30 * 60_000;
/** How long the word that the guest runs on may take after the fact, milliseconds. */
const LATE_MS = 300;

export function memoryPointStep(virsh: Virsh, definitions: Definitions): StepHandler<MemoryPointStep> {
  const { shell } = virsh;
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const { signal } = context;
        const total = step.bytes ?? 0;
        report({ doneBytes: 0, totalBytes: total });
        await savingOver(virsh, step, signal);
        if (!(await isTaken(virsh, step, signal))) {
          await clear(virsh, definitions, step);
          await take(virsh, step, context, report);
        }
        const stat = await shell.stat(step.memory);
        context.result({ strategy: 'memory', storedBytes: stat?.allocated ?? 0 });
        report({ doneBytes: total, totalBytes: total });
      }),
    async undo(step, { signal }) {
      await abortSaving(virsh, step);
      await savingOver(virsh, step, signal);
      const { brought, removed } = await clear(virsh, definitions, step);
      const words = [
        ...(brought.length === 0 ? [] : [`gave ${step.guest.name} its own disks back`]),
        ...(removed.length === 0 ? [] : ['deleted the saved memory']),
      ];
      return words.length === 0 ? deleted([]) : words.join(', ');
    },
  };
}

/** The disks stand still only after the memory is saved whole. */
async function isTaken(virsh: Virsh, step: MemoryPointStep, signal: AbortSignal): Promise<boolean> {
  if (!(await virsh.shell.stat(step.memory))) return false;
  if (step.disks.length === 0) return false;
  const xml = await virsh.maybe(['dumpxml', '--domain', step.guest.uuid], { signal });
  if (xml === undefined) return false;
  const paths = new Map(readDomain(xml).disks.map((disk) => [disk.target, disk.path]));
  return step.disks.every((disk) => paths.get(disk.target) === disk.beside);
}

async function clear(
  virsh: Virsh,
  definitions: Definitions,
  step: MemoryPointStep,
): Promise<{ brought: string[]; removed: string[] }> {
  const brought = await rejoin(virsh, definitions, step.guest, step.disks);
  const never = new AbortController().signal;
  const removed = await removeOwn(virsh.shell, [step.memory], folderOf(step.memory), never);
  return { brought, removed };
}

async function take(
  virsh: Virsh,
  step: MemoryPointStep,
  context: StepContext,
  report: (progress: Progress) => void,
): Promise<void> {
  const { uuid, name } = step.guest;
  const { signal } = context;
  if ((await virsh.state(uuid, signal)) !== 'running')
    throw new OffshootError('source-changed', {
      publicMessage: `The source ${name} does not run any more, so there is no memory to take.`,
      remedy: 'Start it, then clone it again.',
    });
  await virsh.shell.mkdir(folderOf(step.memory));
  for (const disk of step.disks) await makeBeside(virsh, disk, signal);
  const listening = new AbortController();
  const still = stillness(virsh, uuid, listening.signal);
  const abort = (): void => {
    // Should it fail, the save goes on to its end, and the abort is heeded then.
    abortSaving(virsh, step).catch((thrown: unknown) =>
      context.log(`could not stop the save: ${String(thrown)}`),
    );
  };
  const watching = setInterval(() => report({ note: 'the source runs meanwhile' }), 1000);
  signal.addEventListener('abort', abort, { once: true });
  const began = performance.now();
  try {
    signal.throwIfAborted();
    // An abort ends libvirt's job, not this process: either all disks stand still afterwards, or none.
    await virsh.run(snapshotWords(step), { timeoutMs: LONGEST_SAVE_MS });
  } finally {
    clearInterval(watching);
    signal.removeEventListener('abort', abort);
    setTimeout(() => listening.abort(), still.ended() ? 0 : LATE_MS);
  }
  const measured = await still.milliseconds;
  const pauseMs = measured ?? Math.round(performance.now() - began);
  const words = `${measured === undefined ? 'less than ' : ''}${pauseMs} ms`;
  context.note(`the source stood still for ${words}`);
  context.result({
    pauseMs,
    consistency: 'exact',
    consistencyNote: `exact: memory and disks are of one instant, for which the source stood still ${words}`,
  });
}

/** Made before, so that the guest does not stand still while libvirt makes them. */
async function makeBeside(
  virsh: Virsh,
  disk: MemoryPointStep['disks'][number],
  signal: AbortSignal,
): Promise<void> {
  // -u: the guest has the disk open; its size is known.
  await virsh.shell.run(
    [
      'qemu-img',
      'create',
      '-q',
      '-u',
      '-f',
      'qcow2',
      '-F',
      disk.format,
      '-b',
      disk.path,
      '--',
      disk.beside,
      String(disk.virtualBytes),
    ],
    { signal },
  );
}

/** In virsh's own lists a comma is written twice. */
const listed = (path: string): string => path.replaceAll(',', ',,');

const snapshotWords = (step: MemoryPointStep): string[] => [
  'snapshot-create-as',
  '--domain',
  step.guest.uuid,
  '--no-metadata',
  '--live',
  '--reuse-external',
  '--memspec',
  `file=${listed(step.memory)},snapshot=external`,
  ...step.disks.flatMap((disk) => [
    '--diskspec',
    `${disk.target},snapshot=external,driver=qcow2,file=${listed(disk.beside)}`,
  ]),
  ...step.excluded.flatMap((target) => ['--diskspec', `${target},snapshot=no`]),
];

/** How long the guest stands still, by libvirt's own events; undefined when none came. */
function stillness(
  virsh: Virsh,
  uuid: string,
  signal: AbortSignal,
): { milliseconds: Promise<number | undefined>; ended(): boolean } {
  let from: number | undefined;
  let to: number | undefined;
  const listen = async (): Promise<number | undefined> => {
    const words = ['event', '--domain', uuid, '--event', 'lifecycle', '--timestamp', '--loop'];
    for await (const line of virsh.shell.lines(['virsh', '-q', '-c', virsh.uri, ...words], { signal })) {
      const found = /^(\S+) (\S+?)\+0000: event 'lifecycle' .*: (Suspended|Resumed)\b/.exec(line);
      if (!found) continue;
      const at = Date.parse(`${found[1]}T${found[2]}Z`);
      if (found[3] === 'Suspended') from = at;
      else if (from !== undefined) {
        to = at;
        break;
      }
    }
    return from === undefined || to === undefined ? undefined : Math.max(1, to - from);
  };
  // A figure for people: without it the whole call's time is said instead.
  return { milliseconds: listen().catch(() => undefined), ended: () => to !== undefined };
}

/** Waits for a save that another process began: a worker that died, or this one before its abort. */
async function savingOver(virsh: Virsh, step: MemoryPointStep, signal: AbortSignal): Promise<void> {
  while (await isSaving(virsh, step)) await pause(LOOK_MS, signal);
}

async function isSaving(virsh: Virsh, { guest: { uuid } }: MemoryPointStep): Promise<boolean> {
  const job = await jobOf(virsh, uuid);
  return /Operation:\s+Snapshot/i.test(job) && !/Job type:\s+(None|Completed)/i.test(job);
}

const jobOf = async (virsh: Virsh, uuid: string): Promise<string> => {
  const state = await virsh.state(uuid);
  if (state === undefined || state === 'stopped') return '';
  return (await virsh.maybe(['domjobinfo', '--domain', uuid])) ?? '';
};

/** Asks libvirt to give a save up; whether there was one left to give up shows afterwards. */
async function abortSaving(virsh: Virsh, step: MemoryPointStep): Promise<void> {
  try {
    if (await isSaving(virsh, step)) await virsh.run(['domjobabort', '--domain', step.guest.uuid]);
  } catch (thrown) {
    // It may be over by now; what is still going on is waited for.
    if (!(thrown instanceof OffshootError) || thrown.code === 'host-unreachable') throw thrown;
  }
}
