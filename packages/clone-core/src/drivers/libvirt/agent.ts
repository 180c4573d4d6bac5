/**
 * The QEMU guest agent, through libvirt. libvirt sends its own `guest-sync` with a matching id before every command;
 * a `guest-sync-delimited` sent through it breaks its channel until the guest is restarted (tried with 9.0: the 0xFF
 * that comes first is no JSON), so the first question is `guest-ping`.
 */
import { stderrOf } from '../../disks/stderr.ts';
import { OffshootError } from '../../errors.ts';
import type { Virsh } from './virsh.ts';

/** Seconds that libvirt waits for an answer. */
const ANSWER_SECONDS = 2;

/** Whether the agent answers within 2 s. Throws only for what is not the agent's silence. */
export async function agentAnswers(virsh: Virsh, uuid: string, signal: AbortSignal): Promise<boolean> {
  try {
    await virsh.run(
      [
        'qemu-agent-command',
        '--domain',
        uuid,
        '--timeout',
        String(ANSWER_SECONDS),
        '--cmd',
        '{"execute":"guest-ping"}',
      ],
      { signal, timeoutMs: (ANSWER_SECONDS + 3) * 1000 },
    );
    return true;
  } catch (thrown) {
    if (isSilence(thrown)) return false;
    throw thrown;
  }
}

/** A guest without agent or channel, an agent not up yet, a guest just going down. */
function isSilence(thrown: unknown): boolean {
  if (!(thrown instanceof OffshootError)) return false;
  if (thrown.code === 'agent-silent' || thrown.code === 'timeout') return true;
  return thrown.code === 'command-failed' && /domain is not running|agent|json/i.test(stderrOf(thrown));
}

/** Freezes the filesystems of the guest; resolves to how many. Undefined: the agent can't or won't. */
export async function freeze(virsh: Virsh, uuid: string, signal: AbortSignal): Promise<number | undefined> {
  try {
    const out = await virsh.run(['domfsfreeze', '--domain', uuid], {
      signal,
      timeoutMs: 20_000,
      quiet: false,
    });
    return Number(/(\d+)/.exec(out)?.[1] ?? 0);
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    return undefined;
  }
}

/** Lets frozen filesystems go on. Harmless when nothing is frozen. Throws when the agent does not answer. */
export async function thaw(virsh: Virsh, uuid: string): Promise<void> {
  // Without the operation's signal: a cancel must not leave the guest frozen.
  await virsh.run(['domfsthaw', '--domain', uuid], { timeoutMs: 20_000 });
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
