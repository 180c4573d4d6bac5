/** What is asked of a guest about its identity, and done to it, through its agent. */
import { randomBytes } from 'node:crypto';
import type { StepContext } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { AttestedIdentity } from '../../identity/contract.ts';
import { isSilence, runInGuest, systemOf } from './agent.ts';
import { agents, agentWords } from '../../identity/agents.ts';
import { cleanWords } from '../../identity/clean.ts';
import { parseAttestation } from '../../identity/attestation.ts';
import {
  attest,
  attestWindows,
  goOnline as goOnlineScript,
  LINK_IS_UP,
  NO_SUCH_NIC,
  settleSeed,
  takeIdentity,
} from '../../identity/scripts.ts';
import { stopWaiting as stopWaitingScript } from './guest-scripts.ts';
import type { AttestStep } from './types.ts';
import type { Virsh } from './virsh.ts';

/** New SSH host keys take seconds in an emulated guest. */
const SCRIPT_MS = 120_000;
const QUICK_MS = 30_000;
const SEED_BYTES = 512;

type Ran = Awaited<ReturnType<typeof runInGuest>>;

/** Undefined: the agent does not answer any more, or may not run programs. */
async function shellIn(
  virsh: Virsh,
  uuid: string,
  script: string,
  args: readonly string[],
  signal: AbortSignal,
  timeoutMs = QUICK_MS,
  input?: Buffer,
): Promise<Ran | undefined> {
  const program = { path: '/bin/sh', args: ['-c', script, 'offshoot', ...args], timeoutMs };
  return ranIn(virsh, uuid, { ...program, ...(input === undefined ? {} : { input }) }, signal);
}

async function ranIn(
  virsh: Virsh,
  uuid: string,
  program: Parameters<typeof runInGuest>[2],
  signal: AbortSignal,
): Promise<Ran | undefined> {
  try {
    return await runInGuest(virsh, uuid, program, signal);
  } catch (thrown) {
    if (isSilence(thrown)) return undefined;
    throw thrown;
  }
}

/** As `-EncodedCommand` takes it: its standard input would be read as if typed, line by line. */
const powershell = {
  path: 'powershell.exe',
  args: [
    '-NoProfile',
    '-NonInteractive',
    '-EncodedCommand',
    Buffer.from(attestWindows, 'utf16le').toString('base64'),
  ],
  timeoutMs: QUICK_MS,
};

/**
 * What a running guest's agent reads of its identity, just now; undefined: no agent answers, or it can't tell. `windows`: known to
 * be one; else its agent is asked where there is no shell.
 */
export async function askIdentity(
  virsh: Virsh,
  uuid: string,
  signal: AbortSignal,
  windows = false,
): Promise<AttestedIdentity | undefined> {
  let ran = windows ? undefined : await shellIn(virsh, uuid, attest, [], signal);
  if (ran === undefined && (windows || (await systemOf(virsh, uuid, signal)) === 'mswindows'))
    ran = await ranIn(virsh, uuid, powershell, signal);
  if (ran?.code !== 0) return undefined;
  try {
    return parseAttestation(ran.stdout, new Date());
  } catch (thrown) {
    if (thrown instanceof OffshootError && thrown.code === 'agent-silent') return undefined;
    throw thrown;
  }
}

/** A boot waits minutes for a network that is held back; what it waits with is ended. Its DHCP clients are noted for `goOnline`. */
export async function stopWaiting(virsh: Virsh, uuid: string, signal: AbortSignal): Promise<void> {
  await shellIn(virsh, uuid, stopWaitingScript, [], signal);
}

/** While the links are down, when its drive was read: puts right what that does not do, or too late. */
export async function settle(
  virsh: Virsh,
  { guest, awaiting }: AttestStep,
  signal: AbortSignal,
): Promise<void> {
  const { decided } = awaiting.outcome;
  await shellIn(virsh, guest.uuid, settleSeed, [decided.machineId, ...wordsOf(awaiting)], signal, SCRIPT_MS);
}

/** What the agents in it need, as words of the scripts. */
const wordsOf = ({ agents: ids, outcome }: AttestStep['awaiting']): string[] =>
  agentWords(
    agents.filter((agent) => ids.includes(agent.id)),
    outcome.decided,
  );

/** Once the links are up. */
export async function goOnline(
  virsh: Virsh,
  uuid: string,
  hostname: string,
  signal: AbortSignal,
): Promise<void> {
  await shellIn(virsh, uuid, goOnlineScript, [hostname], signal, SCRIPT_MS);
}

/** Makes a guest that has its source's identity itself; resolves to what was in the way, in a sentence. */
export async function becomeItself(
  virsh: Virsh,
  { guest, awaiting }: AttestStep,
  context: StepContext,
): Promise<string | undefined> {
  const { hostname, machineId, fqdn } = awaiting.outcome.decided;
  const pairs = (awaiting.take?.nics ?? []).map((nic) => `${nic.was}/${nic.mac}`);
  const words = [
    ...pairs,
    ...(fqdn === undefined ? [] : [`fqdn=${fqdn}`]),
    // Before its users get their keys.
    ...cleanWords(awaiting.take?.clean ?? []),
    ...wordsOf(awaiting),
  ];
  const now = String(Math.round(Date.now() / 1000));
  let ran: Ran;
  try {
    ran = await runInGuest(
      virsh,
      guest.uuid,
      {
        path: '/bin/sh',
        args: ['-c', takeIdentity, 'offshoot', hostname, machineId, now, ...words],
        input: randomBytes(SEED_BYTES),
        timeoutMs: SCRIPT_MS,
      },
      context.signal,
    );
  } catch (thrown) {
    if (!isSilence(thrown)) throw thrown;
    return 'Its agent fell silent while it was given its own identity.';
  }
  if (ran.stderr.trim() !== '') context.log(`inside the guest: ${ran.stderr.trim().slice(0, 2000)}`);
  if (ran.code === 0) return firstBoot(virsh, guest.uuid, awaiting, context.signal);
  if (ran.code === LINK_IS_UP) return 'Its network was connected before it had an identity of its own.';
  if (ran.code === NO_SUCH_NIC) return 'Inside it, a network card of its source is not to be found.';
  return 'The commands that give it its own identity failed inside it.';
}

/** Users and the like; resolves to what was in the way, in a sentence. */
async function firstBoot(
  virsh: Virsh,
  uuid: string,
  { take }: AttestStep['awaiting'],
  signal: AbortSignal,
): Promise<string | undefined> {
  if (!take?.firstBoot) return undefined;
  const { script, input } = take.firstBoot;
  const ran = await shellIn(virsh, uuid, script, [], signal, SCRIPT_MS, Buffer.from(input));
  return ran?.code === 0 ? undefined : 'What was to be done at its first start failed inside it.';
}
