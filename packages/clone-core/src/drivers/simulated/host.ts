/** The simulated host itself: guests and files in memory, kept in a JSON file when asked to survive a restart. */
import { createHash } from 'node:crypto';
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';
import { seededRandom } from './random.ts';

export interface SimulatedFile {
  /** Stands for the guest-visible content. */
  content: string;
  virtualBytes: number;
  allocatedBytes: number;
  backing?: string;
  readOnly?: boolean;
  /** A copy that is not finished. */
  partial?: boolean;
  /** Mark of the plan that made it; only that plan's undo may take it away. */
  owner?: string;
}

export interface SimulatedGuest {
  uuid: string;
  name: string;
  state: 'stopped' | 'running' | 'paused';
  vcpus: number;
  memoryBytes: number;
  osName: string;
  firmware: 'bios' | 'uefi';
  nics: { mac: string; network: string }[];
  disks: { target: string; path: string }[];
  hasAgent: boolean;
  /** In the clock's milliseconds. */
  startedAt?: number;
  address?: string;
  owner?: string;
}

export interface SimulatedState {
  version: 1;
  store: string;
  totalBytes: number;
  guests: SimulatedGuest[];
  files: Record<string, SimulatedFile>;
  /** Image files that can be imported. */
  images: Record<string, { content: string; virtualBytes: number; allocatedBytes: number }>;
  addressesGiven: number;
}

const GIB = 1024 ** 3;

/** Disks above what the overlay format itself takes, bytes: what a fresh qcow2 overlay takes on a real host. */
export const OVERLAY_BYTES = 196_616;

/** sha256, hex: what stands for content and digests here. */
export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A host with example guests and an image to import; the same seed gives the same host. */
export function sampleState(options: {
  store: string;
  guests: number;
  seed: number;
  /** Share of the guests that runs. */
  running?: number;
}): SimulatedState {
  const runs = Math.round(options.guests * (options.running ?? 0));
  const random = seededRandom(options.seed);
  const state: SimulatedState = {
    version: 1,
    store: options.store,
    totalBytes: 4096 * GIB,
    guests: [],
    files: {},
    images: {
      '/srv/images/simulated-linux.qcow2': {
        content: digestOf(`image ${options.seed}`),
        virtualBytes: 8 * GIB,
        allocatedBytes: 2 * GIB,
      },
    },
    addressesGiven: 0,
  };
  for (let i = 1; i <= options.guests; i++) {
    const name = `simulated-${String(i).padStart(2, '0')}`;
    const path = `/srv/simulated/${name}-vda.qcow2`;
    const virtualBytes = (8 + Math.floor(random() * 32)) * GIB;
    state.files[path] = {
      content: digestOf(`${options.seed} ${name}`),
      virtualBytes,
      allocatedBytes: Math.round(virtualBytes * (0.1 + random() * 0.3)),
    };
    state.guests.push({
      uuid: uuidFrom(`${options.seed} ${name}`),
      name,
      state: i <= runs ? 'running' : 'stopped',
      ...(i <= runs ? { address: `10.0.${options.seed % 250}.${i + 1}` } : {}),
      vcpus: 1 + Math.floor(random() * 4),
      memoryBytes: GIB,
      osName: 'Linux',
      firmware: random() < 0.5 ? 'bios' : 'uefi',
      nics: [{ mac: macFrom(`${options.seed} ${name}`), network: 'default' }],
      disks: [{ target: 'vda', path }],
      hasAgent: true,
    });
  }
  return state;
}

/** A valid version 4 UUID that depends only on the text. */
export function uuidFrom(text: string): string {
  const hex = digestOf(text);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

export function macFrom(text: string): string {
  return `52:54:00:${digestOf(text)
    .slice(0, 6)
    .replace(/(..)(?=.)/g, '$1:')}`;
}

export class SimulatedHost {
  private readonly listeners = new Set<() => void>();
  private loading: Promise<SimulatedState> | undefined;
  private saving: Promise<void> = Promise.resolve();
  private saveQueued: Promise<void> | undefined;

  /** @param keep where the state is kept between processes; one process at a time may use a file. */
  constructor(
    private readonly initial: SimulatedState,
    private readonly keep?: { shell: Shell; path: string },
  ) {}

  private load(): Promise<SimulatedState> {
    this.loading ??= this.keep
      ? loadFrom(this.keep, this.initial)
      : Promise.resolve(structuredClone(this.initial));
    return this.loading;
  }

  /** A copy of what is there now. */
  async look(): Promise<SimulatedState> {
    return structuredClone(await this.load());
  }

  /** Changes the host; resolves once the change is kept. A throw of `edit` must come before it changes anything. */
  async change<T>(edit: (state: SimulatedState) => T): Promise<T> {
    const state = await this.load();
    const value = edit(state);
    for (const listener of this.listeners) listener();
    await this.save(state);
    return value;
  }

  /** Changes what need not survive a restart (the bytes of an unfinished copy). */
  async touch(edit: (state: SimulatedState) => void): Promise<void> {
    edit(await this.load());
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Many changes during one write share the next write. */
  private save(state: SimulatedState): Promise<void> {
    const { keep } = this;
    if (!keep) return Promise.resolve();
    this.saveQueued ??= this.saving.then(() => {
      this.saveQueued = undefined;
      this.saving = keep.shell.writeFile(keep.path, JSON.stringify(state), 0o600);
      return this.saving;
    });
    return this.saveQueued;
  }
}

async function loadFrom(
  keep: { shell: Shell; path: string },
  initial: SimulatedState,
): Promise<SimulatedState> {
  const text = await keep.shell.readText(keep.path);
  if (text === undefined) return structuredClone(initial);
  try {
    const state: SimulatedState = JSON.parse(text);
    if (state.version === 1) return state;
    throw new Error(`version ${String(state.version)}`);
  } catch (cause) {
    throw new OffshootError('internal', {
      publicMessage: `The simulated host’s file ${keep.path} can’t be read.`,
      remedy: 'Delete it: the simulated host then begins anew.',
      cause,
    });
  }
}

/** Bytes taken on the simulated store. */
export const usedBytes = (state: SimulatedState): number =>
  Object.values(state.files).reduce((sum, file) => sum + file.allocatedBytes, 0);

export const freeBytes = (state: SimulatedState): number => Math.max(0, state.totalBytes - usedBytes(state));

/** Paths of the files that stand directly on this one. */
export const childrenOf = (state: SimulatedState, path: string): string[] =>
  Object.entries(state.files).flatMap(([child, file]) => (file.backing === path ? [child] : []));

/** Names of the guests that use one of these files as a disk. */
export const usersOf = (state: SimulatedState, paths: readonly string[]): string[] =>
  state.guests.flatMap((guest) =>
    guest.disks.some((disk) => paths.includes(disk.path)) ? [guest.name] : [],
  );
