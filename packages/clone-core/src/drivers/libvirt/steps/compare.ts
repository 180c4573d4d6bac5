/** Step: compares the disks of a guest with those it was cloned from. Reads only. */
import { COMPARED_BLOCK_BYTES, type Verification, type VerifiedDisk } from '../../../contract.ts';
import { compareSample, compareWhole, undetectedShare } from '../../../disks/compare.ts';
import { readMap } from '../../../disks/map.ts';
import { withReader } from '../../../disks/serve.ts';
import type { StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { CompareStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { reporting } from './reporting.ts';
import { sha256 } from './sha256.ts';

export function compareStep(shell: Shell, virsh: Virsh): StepHandler<CompareStep> {
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const { signal } = context;
        report({ doneBytes: 0, totalBytes: step.bytes });
        await needStill(shell, virsh, step, signal);
        const disks: VerifiedDisk[] = [];
        let before = 0;
        for (const [index, disk] of step.disks.entries()) {
          const found = await compareDisk(shell, step, index, context, (done) =>
            report({ doneBytes: Math.min(before + done, step.bytes), totalBytes: step.bytes }),
          );
          disks.push({ target: disk.target, ...found });
          before += found.sampled ? found.sampled.blocks * COMPARED_BLOCK_BYTES : found.sizeBytes;
        }
        const baseIntact = await intact(shell, step, signal, (note) =>
          report({ doneBytes: step.bytes, totalBytes: step.bytes, note }),
        );
        // What was read counts only when nobody wrote meanwhile.
        await needStill(shell, virsh, step, signal);
        const verified = verification(step, disks, baseIntact);
        if (step.mustEqual && !verified.equal) throw differs(step, verified);
        context.result({ verified });
        context.note(inWords(verified));
        report({ doneBytes: step.bytes, totalBytes: step.bytes });
      }),
    async undo(step) {
      for (const index of step.disks.keys())
        for (const path of socketsOf(step, index)) await shell.remove(path);
      return undefined; // nothing of anybody's was changed
    },
  };
}

const socketsOf = (step: CompareStep, index: number): [string, string] => [
  `${step.sockets}-${index}a`,
  `${step.sockets}-${index}b`,
];

async function compareDisk(
  shell: Shell,
  step: CompareStep,
  index: number,
  { signal, operationId }: StepContext,
  onBytes: (done: number) => void,
): Promise<Omit<VerifiedDisk, 'target'>> {
  const disk = step.disks[index];
  if (!disk) throw new OffshootError('internal', { publicMessage: 'The plan has no such disk.' });
  const [mySocket, theirSocket] = socketsOf(step, index);
  return withReader(shell, { ...disk.mine, socket: mySocket }, signal, (mine) =>
    withReader(shell, { ...disk.theirs, socket: theirSocket }, signal, async (theirs) => {
      const [myExtents, theirExtents] = await Promise.all([
        readMap(shell, disk.mine, signal),
        readMap(shell, disk.theirs, signal),
      ]);
      const sides = [
        { reader: mine, extents: myExtents },
        { reader: theirs, extents: theirExtents },
      ] as const;
      return step.depth === 'whole'
        ? compareWhole(...sides, { signal, onBytes })
        : compareSample(...sides, { signal, onBytes, seed: `${operationId} ${disk.target}` });
    }),
  );
}

/** Whether the base's files are as they were sealed; undefined when nothing was asked about them. */
async function intact(
  shell: Shell,
  step: CompareStep,
  signal: AbortSignal,
  say: (note: string) => void,
): Promise<boolean | undefined> {
  if (step.sealed.length === 0) return undefined;
  say('reading the base’s own files');
  for (const { path, digest } of step.sealed)
    if ((await sha256(shell, path, signal)) !== digest) return false;
  return true;
}

function verification(
  step: CompareStep,
  disks: VerifiedDisk[],
  baseIntact: boolean | undefined,
): Verification {
  const shares = disks.flatMap(({ sampled }) =>
    sampled ? [undetectedShare(sampled.blocks, sampled.of)] : [],
  );
  return {
    at: new Date().toISOString(),
    against: step.against,
    depth: step.depth,
    equal: disks.every((disk) => disk.equal),
    disks,
    ...(shares.length > 0 ? { undetectedShare: Math.max(...shares) } : {}),
    ...(baseIntact === undefined ? {} : { baseIntact }),
  };
}

async function needStill(shell: Shell, virsh: Virsh, step: CompareStep, signal: AbortSignal): Promise<void> {
  for (const guest of step.stopped) {
    const state = await virsh.state(guest.uuid, signal);
    if (state === undefined)
      throw new OffshootError('source-missing', {
        publicMessage: `${guest.name} is gone from the host.`,
        remedy: 'Reload the list of guests: it was removed by another hand.',
      });
    if (state !== 'stopped') throw moved(`${guest.name} was started meanwhile`);
  }
  for (const { target, mine, theirs } of step.disks)
    for (const { path, modifiedMs, size } of [...mine.expects, ...theirs.expects]) {
      const stat = await shell.stat(path);
      if (!stat)
        throw new OffshootError('source-missing', {
          publicMessage: `A file of disk ${target} is gone: ${path}.`,
          remedy: 'Put it back where it was, then try again.',
        });
      if (stat.modifiedMs !== modifiedMs || stat.size !== size)
        throw moved(`Disk ${target} was written to meanwhile`);
    }
}

const moved = (what: string): OffshootError =>
  new OffshootError('source-changed', {
    publicMessage: `${what}, so the comparison says nothing and was given up.`,
    remedy: 'Stop both, then compare again.',
    retryable: true,
  });

function differs(step: CompareStep, { disks }: Verification): OffshootError {
  const disk = disks.find((each) => !each.equal);
  return new OffshootError('source-changed', {
    publicMessage: `The copy of disk ${disk?.target ?? ''} is not the same as ${step.against.label} (first at byte ${disk?.firstDifference ?? 0}), so the clone was given up.`,
    remedy: 'Clone again; if it happens twice, check the host’s disks and memory.',
    retryable: true,
    context: { disks },
  });
}

function inWords({ equal, depth, disks }: Verification): string {
  if (!equal) return `differs in ${disks.reduce((sum, disk) => sum + disk.differingBlocks, 0)} blocks`;
  return depth === 'whole' ? 'identical' : 'no difference found';
}
