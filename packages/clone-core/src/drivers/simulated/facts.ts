/** What the simulated driver reads before it plans. */
import type { HostFacts } from '../../contract.ts';
import type { CapturedBase, Facts, GuestRef, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { childrenOf, freeBytes, usersOf, type SimulatedGuest, type SimulatedState } from './host.ts';

export interface DiskFacts {
  target: string;
  path: string;
  content: string;
  virtualBytes: number;
  /** Of the disk with all it stands on. */
  allocatedBytes: number;
}

export interface SimulatedFacts extends Facts {
  store: string;
  takenMacs: string[];
  /** The guest the request is about: source, or the one to start, stop or delete. */
  guest?: SimulatedGuest;
  disks?: DiskFacts[];
  /** For verify: what the guest is compared with. */
  other?: { name: string; state: SimulatedGuest['state']; disks: DiskFacts[] };
  /** Guests on the base the request is about. */
  children?: string[];
  /** Files that go with the guest and exist. */
  owned?: { path: string; usedBy: string[] }[];
  image?: { content: string; virtualBytes: number; allocatedBytes: number };
}

/** Reads only. Throws `source-missing` and `not-found`. */
export function factsFor(
  request: OperationRequest,
  state: SimulatedState,
  host: HostFacts,
  at: string,
): SimulatedFacts {
  const facts: SimulatedFacts = {
    host,
    at,
    store: state.store,
    takenNames: state.guests.map((guest) => guest.name),
    takenMacs: state.guests.flatMap((guest) => guest.nics.map((nic) => nic.mac)),
  };
  switch (request.kind) {
    case 'clone':
      return request.source.type === 'guest'
        ? { ...facts, ...sourceFacts(request.source.guest, state) }
        : { ...facts, ...baseFacts(request.source.base, state) };
    case 'capture':
      return { ...facts, ...sourceFacts(request.guest, state) };
    case 'import': {
      const image = state.images[request.imagePath];
      if (image) return { ...facts, image: { ...image } };
      throw new OffshootError('source-missing', {
        publicMessage: `There is no image ${request.imagePath} on the simulated host.`,
        remedy: `It has ${Object.keys(state.images).join(', ') || 'none at all'}.`,
        field: 'imagePath',
      });
    }
    case 'start':
    case 'stop':
      return { ...facts, guest: guestOf(request.guest, state, 'not-found', 'guest') };
    case 'delete': {
      const guest = state.guests.find((each) => each.uuid === request.guest.uuid);
      const owned = request.owned
        .filter((path) => state.files[path])
        .map((path) => {
          const users = [...usersOf(state, [path]), ...usersOf(state, childrenOf(state, path))];
          return { path, usedBy: users.filter((name) => name !== guest?.name) };
        });
      return { ...facts, owned, ...(guest ? { guest } : {}) };
    }
    case 'verify': {
      const { against } = request;
      if (against.type === 'base')
        return {
          ...facts,
          ...sourceFacts(request.guest, state),
          other: { name: against.label, state: 'stopped', disks: baseFacts(against.base, state).disks },
        };
      const { guest, disks } = sourceFacts(against.guest, state);
      return {
        ...facts,
        ...sourceFacts(request.guest, state),
        other: { name: guest.name, state: guest.state, disks },
      };
    }
    case 'snapshot':
    case 'revert':
    case 'remove-snapshot':
    case 'promote':
      throw notSimulated(request.kind);
    case 'reset':
      return {
        ...facts,
        guest: guestOf(request.guest, state, 'not-found', 'guest'),
        disks: baseFacts(request.base, state).disks,
      };
    case 'remove-base':
      return { ...facts, children: baseFacts(request.base, state, true).children };
    default:
      throw notSimulated(request.kind);
  }
}

/** What the simulated host refuses, in plain words. */
export function notSimulated(what: OperationRequest['kind']): OffshootError {
  const words: Partial<Record<OperationRequest['kind'], string>> = {
    refresh: 'bring a clone up to date',
    restore: 'put a clone back',
    snapshot: 'keep snapshots',
    revert: 'keep snapshots',
    'remove-snapshot': 'keep snapshots',
    promote: 'detach clones from their base',
  };
  return new OffshootError('unavailable-mode', {
    publicMessage: `The simulated host does not ${words[what] ?? what}.`,
    remedy: 'Use a libvirt host for that.',
  });
}
function guestOf(
  ref: GuestRef,
  state: SimulatedState,
  code: 'source-missing' | 'not-found',
  field: string,
): SimulatedGuest {
  const guest = state.guests.find((each) => each.uuid === ref.uuid);
  if (guest) return guest;
  throw new OffshootError(code, {
    publicMessage: `The guest ${ref.name} is gone from its host.`,
    remedy: 'Choose another, or look at the guest list: someone may have deleted it.',
    field,
  });
}

function sourceFacts(ref: GuestRef, state: SimulatedState): { guest: SimulatedGuest; disks: DiskFacts[] } {
  const guest = guestOf(ref, state, 'source-missing', 'source');
  return { guest, disks: guest.disks.map(({ target, path }) => diskFacts(target, path, state)) };
}

function diskFacts(target: string, path: string, state: SimulatedState): DiskFacts {
  const file = state.files[path];
  if (!file) {
    throw new OffshootError('source-missing', {
      publicMessage: `The disk ${path} is missing.`,
      remedy: 'Bring it back, or choose another source.',
      field: 'source',
    });
  }
  let allocatedBytes = 0;
  for (let at: string | undefined = path; at !== undefined; at = state.files[at]?.backing)
    allocatedBytes += state.files[at]?.allocatedBytes ?? 0;
  const { content, virtualBytes } = file;
  return { target, path, content, virtualBytes, allocatedBytes: Math.min(allocatedBytes, virtualBytes) };
}

function baseFacts(
  base: CapturedBase,
  state: SimulatedState,
  mayBeGone = false,
): { disks: DiskFacts[]; children: string[] } {
  const disks = base.disks
    .filter((disk) => !mayBeGone || state.files[disk.path])
    .map((disk) => diskFacts(disk.target, disk.path, state));
  const children = base.disks.flatMap((disk) => childrenOf(state, disk.path));
  return { disks, children: [...new Set(usersOf(state, children))] };
}

/** Host facts in which everything says that it is simulated. */
export function hostFactsOf(state: SimulatedState, provenAt: string): HostFacts {
  const running = state.guests.filter((guest) => guest.state === 'running');
  const memoryBytes = 256 * 1024 ** 3;
  return {
    hypervisor: 'simulated hypervisor 1',
    accelerator: { name: 'simulated', provenAt, detail: 'Simulated: no real guest runs here.' },
    cpus: 32,
    load1: Math.round(running.length * 10) / 100,
    memoryBytes,
    memoryFreeBytes: Math.max(0, memoryBytes - running.reduce((sum, guest) => sum + guest.memoryBytes, 0)),
    store: {
      path: state.store,
      filesystem: 'simulated',
      reflink: false,
      totalBytes: state.totalBytes,
      freeBytes: freeBytes(state),
    },
    networks: [{ name: 'default', active: true }],
  };
}
