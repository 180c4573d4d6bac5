/**
 * Step: a running guest goes to another host. libvirt here talks to libvirt there, QEMU here to QEMU there, over Unix
 * sockets whose other ends are on the other host: https://libvirt.org/migration.html, "Migration over unix sockets".
 * Everything goes through the connection between the two workers, which is encrypted and authenticated.
 */
import type { Peers } from '../../../disks/transfer/peers.ts';
import type { Progress, StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import { relaySocket, type Relay } from '../../../shell/relay.ts';
import type { Reader } from '../inspect.ts';
import { askHost, reachHost } from '../moving/line.ts';
import { relayOf } from '../moving/places.ts';
import { channels, stateSchema, type Channel, type StateThere } from '../moving/protocol.ts';
import type { MigrateLiveStep } from '../types.ts';
import { needPeers } from './move.ts';
import { pause, reporting } from './reporting.ts';

const POLL_MS = 500;
/** Who may use the sockets, in a folder that only QEMU's user and root enter. libvirt itself is root. */
const MODES: Readonly<Record<Channel, number>> = { libvirt: 0o600, memory: 0o666, disks: 0o666 };

export function migrateLiveStep(reader: Reader): StepHandler<MigrateLiveStep> {
  const { virsh, peers } = reader;
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const line = needPeers(peers);
        const here = await virsh.state(step.guest.uuid, context.signal);
        // A run that was cut after its end.
        const arrived = here === 'running' ? undefined : await stateThere(line, step, context);
        if (here !== 'running' && arrived?.state !== 'running') throw notRunning(step);
        if (here === 'running') await move(reader, line, step, context, report);
        const there = arrived ?? (await stateThere(line, step, context));
        if (there.state === undefined) throw lost(step);
        context.result({
          movedBytes: step.bytes,
          strategy: 'migrate',
          ...(there.pauseMs === undefined ? {} : { pauseMs: there.pauseMs }),
        });
        if (there.pauseMs !== undefined) context.note(`it stood still for ${there.pauseMs} ms`);
      }),
    async undo(step, context) {
      const { signal } = context;
      const here = await virsh.state(step.guest.uuid, signal);
      if (here === 'running' || here === 'paused') {
        await endJob(reader, step, signal);
        if ((await virsh.state(step.guest.uuid, signal)) === 'paused')
          await virsh.run(['resume', '--domain', step.guest.uuid], { signal });
        return undefined;
      }
      if ((await stateThere(needPeers(peers), step, context)).state === undefined) return undefined;
      throw new OffshootError('not-allowed', {
        publicMessage: `${step.guest.name} is on ${step.target.name} already and runs there. Its old disks here are of the time before.`,
      });
    },
  };
}

const notRunning = ({ guest }: MigrateLiveStep): OffshootError =>
  new OffshootError('source-changed', {
    publicMessage: `${guest.name} was stopped meanwhile, so it was not moved.`,
    remedy: 'Move it again: it goes as a stopped guest.',
    retryable: true,
  });

const lost = ({ guest, target }: MigrateLiveStep): OffshootError =>
  new OffshootError('command-failed', {
    publicMessage: `${target.name} does not know ${guest.name} after it was moved there.`,
    remedy: 'Look at libvirt on both hosts. Its disks here were not touched.',
  });

async function stateThere(
  line: Peers,
  { target, guest }: MigrateLiveStep,
  { operationId, signal }: Pick<StepContext, 'operationId' | 'signal'>,
): Promise<StateThere> {
  const question = { ask: 'state' as const, operation: operationId, guest };
  return stateSchema.parse(await askHost(line, target, question, signal));
}

async function move(
  reader: Reader,
  line: Peers,
  step: MigrateLiveStep,
  context: StepContext,
  report: (progress: Progress) => void,
): Promise<void> {
  const { virsh } = reader;
  const { signal, operationId } = context;
  await endJob(reader, step, signal);
  const relays: Relay[] = [];
  const told = (error: unknown): void => {
    const why = error instanceof OffshootError ? error.publicMessage : String(error);
    context.log(`connection to ${step.target.name}: ${why}`);
  };
  try {
    for (const channel of channels) {
      const question = { ask: 'reach' as const, operation: operationId, channel };
      const connect = () => reachHost(line, step.target, question, signal);
      relays.push(await relaySocket(relayOf(channel, operationId), MODES[channel], connect, told));
    }
    const over = new AbortController();
    const watching = watch(reader, step, AbortSignal.any([over.signal, signal]), report);
    // virsh ends when libvirt is done; killed, it would leave libvirt at it.
    const abort = (): void => void virsh.maybe(['domjobabort', '--domain', step.guest.uuid]).catch(told);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await virsh.withFile(step.scratch, step.xml, () =>
        virsh.run(wordsOf(step, operationId), { timeoutMs: 0 }),
      );
    } catch (thrown) {
      signal.throwIfAborted();
      throw failure(thrown, step);
    } finally {
      signal.removeEventListener('abort', abort);
      over.abort();
      await watching;
    }
  } finally {
    await Promise.all(relays.map((relay) => relay.close()));
  }
}

function wordsOf({ guest, scratch, storage, targets }: MigrateLiveStep, operation: string): string[] {
  return [
    'migrate',
    '--live',
    '--p2p',
    '--persistent',
    `--copy-storage-${storage}`,
    '--migrate-disks',
    targets.join(','),
    '--auto-converge',
    '--abort-on-error',
    '--domain',
    guest.uuid,
    '--desturi',
    `qemu+unix:///system?socket=${relayOf('libvirt', operation)}`,
    '--migrateuri',
    `unix://${relayOf('memory', operation)}`,
    '--disks-uri',
    `unix://${relayOf('disks', operation)}`,
    '--xml',
    scratch,
    '--persistent-xml',
    scratch,
  ];
}

/** libvirt has put it back by then: it runs here as before. */
function failure(thrown: unknown, { guest, target }: MigrateLiveStep): OffshootError {
  const cause = thrown instanceof OffshootError ? thrown : undefined;
  const said = cause?.context['stderr'];
  const why =
    typeof said === 'string' ? (said.trim().split('\n').at(-1) ?? '').replace(/^error:\s*/, '') : '';
  return new OffshootError('command-failed', {
    publicMessage: `${guest.name} could not be moved to ${target.name} and runs on here.${why === '' ? '' : ` libvirt says: ${why}.`}`,
    remedy: 'See that the network between the two hosts holds, then move it again.',
    retryable: true,
    ...(cause ? { context: cause.context } : {}),
    cause: thrown,
  });
}

/** A job of a run that was cut ends first: libvirt has one at a time. */
async function endJob({ virsh }: Reader, { guest }: MigrateLiveStep, signal: AbortSignal): Promise<void> {
  for (let turn = 0; turn < 60; turn++) {
    const info = await virsh.maybe(['domjobinfo', '--domain', guest.uuid], { signal });
    if (info === undefined || /^Job type:\s+None/m.test(info)) return;
    try {
      await virsh.maybe(['domjobabort', '--domain', guest.uuid], { signal });
    } catch (thrown) {
      // It ended by itself, or is one that can't be ended any more.
      if (!(thrown instanceof OffshootError) || thrown.code === 'host-unreachable') throw thrown;
    }
    await pause(POLL_MS, signal);
  }
  throw new OffshootError('busy', {
    publicMessage: `libvirt is busy with another job of ${guest.name}.`,
    remedy: 'Wait until that job is done, then move it again.',
    retryable: true,
  });
}

/** Bytes of disks and memory that have gone over, as libvirt counts them. Ends quietly. */
async function watch(
  { virsh }: Reader,
  { guest, bytes, target }: MigrateLiveStep,
  signal: AbortSignal,
  report: (progress: Progress) => void,
): Promise<void> {
  let most = 0;
  while (!signal.aborted) {
    try {
      const info = await virsh.maybe(['domjobinfo', '--domain', guest.uuid, '--rawstats'], { signal });
      const done = Number(/^\s*data_processed:\s*(\d+)/m.exec(info ?? '')?.[1] ?? 0);
      most = Math.max(most, done);
      if (most > 0)
        report({
          doneBytes: most,
          totalBytes: Math.max(bytes, most),
          note: `to ${target.name}, while it runs`,
        });
      await pause(POLL_MS, signal);
    } catch (thrown) {
      // How far it is matters less than that it goes on; a job that ends in between has no numbers.
      if (!signal.aborted && !(thrown instanceof OffshootError)) throw thrown;
    }
  }
}
