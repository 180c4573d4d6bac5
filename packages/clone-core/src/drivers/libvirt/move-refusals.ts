/** What stands against moving a guest, told before anything is done. Pure. */
import type { OperationRequest } from '../../driver.ts';
import { OffshootError, type ErrorDetails, type ErrorCode } from '../../errors.ts';
import { readDomain } from './domain-read.ts';
import { gib } from './plan-parts.ts';
import type { LibvirtFacts, MoveFacts } from './types.ts';

type MoveRequest = Extract<OperationRequest, { kind: 'migrate' }>;

/** Of the other host kept free, bytes. */
const MARGIN = 64 * 1024 ** 2;

export function refuseMove(request: MoveRequest, facts: LibvirtFacts, move: MoveFacts, bytes: number): void {
  for (const refuse of [refuseGuest, refuseHost, refuseRunning]) refuse(request, facts, move);
  const { there } = move;
  const base = there.base === undefined ? (request.base?.disks ?? []) : [];
  const wanted = bytes + base.reduce((sum, disk) => sum + disk.allocatedBytes, 0);
  if (wanted + MARGIN < there.freeBytes) return;
  refusal('no-space', {
    publicMessage: `${request.guest.name} needs ${gib(wanted)} on ${request.target.name}, where ${gib(there.freeBytes)} are free.`,
    remedy: 'Delete guests there, or choose another host.',
    field: 'hostId',
  });
}

function refusal(code: ErrorCode, details: ErrorDetails): never {
  throw new OffshootError(code, details);
}

function refuseGuest({ guest, owned }: MoveRequest, _facts: LibvirtFacts, move: MoveFacts): void {
  const { source, saved, records } = move;
  if (source.state === 'paused')
    refusal('busy', {
      publicMessage: `${guest.name} is paused; it can go while it runs or while it is stopped.`,
      remedy: 'Resume or stop it first.',
      retryable: true,
    });
  if (saved)
    refusal('busy', {
      publicMessage: `The memory of ${guest.name} is saved on disk (virsh managedsave) and fits only this host.`,
      remedy: 'Start it, or throw the saved memory away with virsh managedsave-remove.',
    });
  if (source.snapshots.length > 0)
    refusal('would-lose', {
      publicMessage: `The snapshots of ${guest.name} (${source.snapshots.slice(0, 3).join(', ')}${source.snapshots.length > 3 ? ', …' : ''}) can’t go along: libvirt keeps them on this host.`,
      remedy: 'Remove them first.',
    });
  if (records.length > 0)
    refusal('in-use', {
      publicMessage: `Clones on this host are refreshed from ${guest.name}; their change records can’t go along.`,
      remedy: 'Delete those clones, or leave the guest here.',
    });
  const foreign = source.disks.find(({ path }) => !owned.includes(path));
  if (foreign)
    refusal('unsupported-disk', {
      publicMessage: `Disk ${foreign.target} of ${guest.name} is a file that Offshoot did not make: ${foreign.path}.`,
      remedy: 'Make a full clone of it, and move that.',
    });
}

function refuseHost({ guest, target, network }: MoveRequest, _facts: LibvirtFacts, move: MoveFacts): void {
  const { there, source } = move;
  if (there.taken !== undefined)
    refusal('name-taken', {
      publicMessage: `${target.name} has a guest ${there.taken === 'name' ? `named ${guest.name}` : `with the UUID of ${guest.name}`} already.`,
      remedy: 'Remove that one, or choose another host.',
      field: 'hostId',
    });
  if (there.processor !== undefined)
    refusal('unavailable-mode', {
      publicMessage: `${guest.name} can’t run on ${target.name}: ${there.processor}.`,
      remedy: 'Choose another host, or give it a processor that both have in its definition.',
      field: 'hostId',
    });
  if (there.missing.length > 0)
    refusal('unavailable-mode', {
      publicMessage: `${guest.name} uses what is not on ${target.name}: ${there.missing.join(', ')}.`,
      remedy: 'Put it there at the same path, or take it out of the guest.',
      field: 'hostId',
    });
  const wanted = readDomain(move.live ?? source.definition).nics.flatMap((nic) =>
    nic.type === 'network' && nic.network !== undefined ? [network ?? nic.network] : [],
  );
  for (const name of new Set(wanted)) {
    const found = there.networks.find((each) => each.name === name);
    if (found?.active === true) continue;
    refusal('unavailable-mode', {
      publicMessage: found
        ? `The network ${name} of ${target.name} is not active.`
        : `${target.name} has no network ${name}.`,
      remedy: 'Choose another network for it there, or make it there.',
      field: 'network',
    });
  }
}

function refuseRunning({ guest, target }: MoveRequest, facts: LibvirtFacts, move: MoveFacts): void {
  if (move.live === undefined) return;
  if (move.unmovable !== undefined)
    refusal('unavailable-mode', {
      publicMessage: `${guest.name} can’t go while it runs: ${move.unmovable}.`,
      remedy: 'Stop it first.',
    });
  if (!move.there.system)
    refusal('unavailable-mode', {
      publicMessage: `${target.name} runs guests of one account only (qemu:///session), so no running guest can go there.`,
      remedy: 'Stop it first.',
      field: 'hostId',
    });
  const passed = /<cpu [^>]*mode=['"]host-passthrough['"]/.test(move.live);
  if (passed && move.there.machine !== facts.machine)
    refusal('unavailable-mode', {
      publicMessage: `${guest.name} was given this host’s own processor (${facts.machine}), which ${target.name} does not have (${move.there.machine}).`,
      remedy: 'Stop it first: it starts there with that host’s processor.',
      field: 'hostId',
    });
}
