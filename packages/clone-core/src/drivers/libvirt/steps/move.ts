/** Steps that bring a guest's files and definition to another host. */
import type { Peers } from '../../../disks/transfer/peers.ts';
import type { Progress, StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Reader } from '../inspect.ts';
import { askHost } from '../moving/line.ts';
import { stateSchema } from '../moving/protocol.ts';
import type { DefineThereStep, ReceiveGuestStep } from '../types.ts';
import { needStopped, needUnchanged } from './copy.ts';
import { pause, reporting } from './reporting.ts';

/** With a host that can't be reached it is tried again for so long, milliseconds. */
const PATIENCE_MS = 10 * 60_000;
const AGAIN_MS = 1000;

export const needPeers = (peers: Peers | undefined): Peers => {
  if (peers) return peers;
  throw new OffshootError('unavailable-mode', {
    publicMessage: 'This worker reaches no other hosts.',
    remedy: 'Set OFFSHOOT_PEER_ADDRESS to the host’s address.',
  });
};

export function receiveGuestStep({ shell, virsh, peers }: Reader): StepHandler<ReceiveGuestStep> {
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const { signal, operationId } = context;
        const line = needPeers(peers);
        const { target, folder } = step;
        const common = { operation: operationId, folder };
        if (step.prepare.length > 0)
          await askHost(line, target, { ask: 'prepare', ...common, disks: step.prepare }, signal);
        if (step.files.length > 0 || step.tpm) await bring(line, step, context, report);
        if (step.stopped) {
          await needStopped(virsh, step.stopped, signal);
          for (const { file, expects } of step.files)
            if (expects) await needUnchanged(shell, file, [expects]);
        }
      }),
    async undo(step, { signal, operationId }) {
      const { target, guest, folder } = step;
      const answer = await askHost(
        needPeers(peers),
        target,
        { ask: 'forget', operation: operationId, guest, folder, tpm: step.tpm !== undefined },
        signal,
      );
      const removed = typeof answer === 'object' && answer !== null && 'removed' in answer && answer.removed;
      return removed === true ? `deleted what had come to ${target.name}` : undefined;
    },
  };
}

/** A cut connection goes on where it was: the other host keeps what it has of a file. */
async function bring(
  line: Peers,
  step: ReceiveGuestStep,
  context: StepContext,
  report: (progress: Progress) => void,
): Promise<void> {
  const { target, folder, tpm } = step;
  const { signal, operationId } = context;
  const offer = line.offers.offer([
    ...step.files.map(({ from }) => from),
    ...(tpm?.files.map((path) => `${tpm.folder}/${path}`) ?? []),
  ]);
  const offered = (index: number): string => offer.files[index] ?? '';
  const from = line.self;
  let done = 0;
  let since = performance.now();
  try {
    for (;;) {
      try {
        const answer = await askHost(
          line,
          target,
          {
            ask: 'fetch',
            operation: operationId,
            folder,
            from,
            word: offer.word,
            files: step.files.map(({ file, onto }, index) => ({
              offered: offered(index),
              file,
              ...(onto ? { onto } : {}),
            })),
            ...(tpm
              ? {
                  tpm: {
                    uuid: tpm.uuid,
                    owner: tpm.owner,
                    files: tpm.files.map((path, index) => ({
                      path,
                      offered: offered(step.files.length + index),
                    })),
                  },
                }
              : {}),
          },
          signal,
          ({ doneBytes }) => {
            since = performance.now();
            done = Math.max(done, doneBytes);
            report({ doneBytes: done, totalBytes: Math.max(step.bytes, done), note: `to ${target.name}` });
          },
        );
        const bytes = typeof answer === 'object' && answer !== null && 'receivedBytes' in answer;
        context.result({ movedBytes: bytes ? Number(answer.receivedBytes) : done, strategy: 'transfer' });
        return;
      } catch (thrown) {
        const error = thrown instanceof OffshootError ? thrown : undefined;
        if (signal.aborted || error?.code !== 'host-unreachable') throw thrown;
        if (performance.now() - since > PATIENCE_MS) throw thrown;
        context.log(error.publicMessage);
        report({
          doneBytes: done,
          totalBytes: Math.max(step.bytes, done),
          note: `waiting for ${target.name}`,
        });
        await pause(AGAIN_MS, signal);
      }
    }
  } finally {
    offer.withdraw();
  }
}

export function defineThereStep({ shell, virsh, peers }: Reader): StepHandler<DefineThereStep> {
  return {
    async *run(step, { signal, operationId }) {
      yield { note: `handing the definition to ${step.target.name}` };
      await needStopped(virsh, step.stopped, signal);
      await needUnchanged(shell, 'file', step.expects);
      const { guest, folder, xml, target } = step;
      const question = { ask: 'define' as const, operation: operationId, guest, folder, xml };
      const { state } = stateSchema.parse(await askHost(needPeers(peers), target, question, signal));
      if (state !== undefined) return;
      throw new OffshootError('command-failed', {
        publicMessage: `${target.name} does not answer for ${guest.name} after it was defined there.`,
        remedy: 'Look at libvirt there. Nothing was changed here.',
      });
    },
    // What came there goes with its files.
    undo: () => Promise.resolve(undefined),
  };
}
