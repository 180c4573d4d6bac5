/**
 * The QEMU guest agent, through libvirt. libvirt sends its own `guest-sync` with a matching id before every command;
 * a `guest-sync-delimited` sent through it breaks its channel until the guest is restarted (tried with 9.0: the 0xFF
 * that comes first is no JSON), so the first question is `guest-ping`.
 */
import { z } from 'zod';
import { stderrOf } from '../../disks/stderr.ts';
import { OffshootError } from '../../errors.ts';
import { pause } from './steps/reporting.ts';
import { outOf, type Answer, type Virsh } from './virsh.ts';

/** Seconds that libvirt waits for an answer. */
const ANSWER_SECONDS = 2;

/** The virsh command that asks the agent to answer, within 2 s. */
export const pinging = (uuid: string): string[] => [
  'qemu-agent-command',
  '--domain',
  uuid,
  '--timeout',
  String(ANSWER_SECONDS),
  '--cmd',
  '{"execute":"guest-ping"}',
];

/** Whether it did. Throws only for what is not the agent's silence. */
export function answeredPing(answer: Answer | undefined): boolean {
  // Another tool's command holds the agent: it can't be asked to freeze anything either.
  if (answer && 'error' in answer && (answer.error.code === 'busy' || isSilence(answer.error))) return false;
  outOf(answer);
  return true;
}

/** Whether the agent answers within 2 s. Throws only for what is not the agent's silence. */
export async function agentAnswers(virsh: Virsh, uuid: string, signal: AbortSignal): Promise<boolean> {
  try {
    await virsh.run(pinging(uuid), { signal, timeoutMs: (ANSWER_SECONDS + 3) * 1000 });
    return true;
  } catch (thrown) {
    if (isSilence(thrown)) return false;
    throw thrown;
  }
}

/** A guest without agent or channel, an agent not up yet, a guest just going down. */
export function isSilence(thrown: unknown): boolean {
  if (!(thrown instanceof OffshootError)) return false;
  if (thrown.code === 'agent-silent' || thrown.code === 'timeout') return true;
  return thrown.code === 'command-failed' && /domain is not running|agent|json/i.test(stderrOf(thrown));
}

const infoSchema = z.object({
  return: z.object({ supported_commands: z.array(z.object({ name: z.string(), enabled: z.boolean() })) }),
});
const systemSchema = z.object({ return: z.object({ id: z.string().optional() }) });

/** What a guest's agent may do. Undefined: none answers within 2 s. */
export async function agentAbilities(
  virsh: Virsh,
  uuid: string,
  signal: AbortSignal,
): Promise<{ exec: boolean; system: string | undefined } | undefined> {
  try {
    const info = await ask(virsh, uuid, infoSchema, 'guest-info', undefined, signal);
    const exec = info.return.supported_commands.some(({ name, enabled }) => name === 'guest-exec' && enabled);
    return { exec, system: await systemOf(virsh, uuid, signal) };
  } catch (thrown) {
    if (isSilence(thrown)) return undefined;
    throw thrown;
  }
}

/** "debian", "mswindows"; undefined when the guest does not say. */
export async function systemOf(virsh: Virsh, uuid: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    return (await ask(virsh, uuid, systemSchema, 'guest-get-osinfo', undefined, signal)).return.id;
  } catch (thrown) {
    if (signal.aborted || !(thrown instanceof OffshootError) || thrown.code === 'host-unreachable')
      throw thrown;
    return undefined; // an agent too old for the question, or a guest without /etc/os-release
  }
}

const startedSchema = z.object({ return: z.object({ pid: z.number() }) });
const statusSchema = z.object({
  return: z.object({
    exited: z.boolean(),
    exitcode: z.number().optional(),
    'out-data': z.string().optional(),
    'err-data': z.string().optional(),
  }),
});
/** Between two looks at a program in the guest, milliseconds. */
const LOOK_MS = 40;

/**
 * Runs one program in the guest through its agent, until it ends; `input` goes to its standard input. Throws
 * `agent-silent` when the agent can't, `timeout` when the program does not end in time.
 */
export async function runInGuest(
  virsh: Virsh,
  uuid: string,
  program: { path: string; args: readonly string[]; input?: Buffer; timeoutMs: number },
  signal: AbortSignal,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { path, args, input, timeoutMs } = program;
  const began = performance.now();
  const started = await ask(
    virsh,
    uuid,
    startedSchema,
    'guest-exec',
    {
      path,
      arg: args,
      'capture-output': true,
      ...(input === undefined ? {} : { 'input-data': input.toString('base64') }),
    },
    signal,
  );
  for (;;) {
    const { return: status } = await ask(
      virsh,
      uuid,
      statusSchema,
      'guest-exec-status',
      { pid: started.return.pid },
      signal,
    );
    if (status.exited) {
      const text = (data: string | undefined): string => Buffer.from(data ?? '', 'base64').toString();
      return {
        code: status.exitcode ?? 1,
        stdout: text(status['out-data']),
        stderr: text(status['err-data']),
      };
    }
    if (performance.now() - began > timeoutMs)
      throw new OffshootError('timeout', {
        publicMessage: `A program of Offshoot’s did not end in the guest within ${timeoutMs / 1000} s.`,
        remedy: 'See on its screen what keeps it (virt-viewer on its host).',
        retryable: true,
        context: { path },
      });
    await pause(LOOK_MS, signal);
  }
}

/** What a guest answers is the guest's: other words than an agent's are as good as none, and no error of ours. */
async function ask<T>(
  virsh: Virsh,
  uuid: string,
  schema: z.ZodType<T>,
  execute: string,
  parameters: Record<string, unknown> | undefined,
  signal: AbortSignal,
): Promise<T> {
  const command = JSON.stringify({
    execute,
    ...(parameters === undefined ? {} : { arguments: parameters }),
  });
  const out = await virsh.run(
    ['qemu-agent-command', '--domain', uuid, '--timeout', String(ANSWER_SECONDS), '--cmd', command],
    { signal, timeoutMs: (ANSWER_SECONDS + 3) * 1000 },
  );
  try {
    return schema.parse(JSON.parse(out));
  } catch (cause) {
    throw new OffshootError('agent-silent', {
      publicMessage: 'The guest’s agent answers what no guest agent says.',
      remedy: 'See in the guest what serves its agent’s channel; qemu-guest-agent should.',
      context: { execute },
      cause,
    });
  }
}

/** The virsh command that freezes the filesystems of the guest, and the one that lets them go on, harmless when nothing is frozen. */
export const freezing = (uuid: string): string[] => ['domfsfreeze', '--domain', uuid];
export const thawing = (uuid: string): string[] => ['domfsthaw', '--domain', uuid];

/** How many filesystems were frozen. Undefined: the agent can't or won't. */
export const frozenIn = (answer: Answer | undefined): number | undefined =>
  answer && 'out' in answer ? Number(/(\d+)/.exec(answer.out)?.[1] ?? 0) : undefined;

/** Lets frozen filesystems go on. Harmless when nothing is frozen. Throws when the agent does not answer. */
export async function thaw(virsh: Virsh, uuid: string): Promise<void> {
  // Without the operation's signal: a cancel must not leave the guest frozen.
  await virsh.run(thawing(uuid), { timeoutMs: 20_000 });
}

/** First address that is neither loopback nor link-local, by the agent, the leases or the ARP table. */
export async function addressOf(
  virsh: Virsh,
  uuid: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  for (const source of ['lease', 'agent', 'arp']) {
    try {
      const out = await virsh.run(['domifaddr', '--domain', uuid, '--source', source], {
        signal,
        timeoutMs: 4000,
      });
      const address = pickAddress(out);
      if (address) return address;
    } catch (thrown) {
      if (signal.aborted || (thrown instanceof OffshootError && thrown.code === 'host-unreachable'))
        throw thrown;
      // This source of addresses has nothing to say of this guest; the next may.
    }
  }
  return undefined;
}

/** From the table of `virsh domifaddr`: IPv4 before IPv6. */
export function pickAddress(table: string): string | undefined {
  const all = [...table.matchAll(/\b(ipv4|ipv6)\s+([0-9a-fA-F.:]+)\/\d+/g)].map((found) => found[2] ?? '');
  const usable = all.filter(
    (each) =>
      each !== '' &&
      !each.startsWith('127.') &&
      each !== '::1' &&
      !/^fe80:/i.test(each) &&
      !each.startsWith('169.254.') &&
      !inUserNetwork(each),
  );
  return usable.find((each) => each.includes('.')) ?? usable[0];
}

/** QEMU's user network gives every guest the same address, which nobody can reach. */
const inUserNetwork = (address: string): boolean => address.startsWith('10.0.2.') || /^fec0:/i.test(address);
