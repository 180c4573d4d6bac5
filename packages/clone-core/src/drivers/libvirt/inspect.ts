/** Reads everything a plan is decided on. Changes nothing. */
import type { CapturedBase, DriverSource, GuestRef, OperationRequest } from '../../driver.ts';
import { usersOf, type DiskOwner } from '../../disks/users.ts';
import type { Peers } from '../../disks/transfer/peers.ts';
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';
import { cpuCheck } from './cpu.ts';
import type { Definitions } from './definitions.ts';
import type { DomainDisk } from './domain-read.ts';
import { awaitingIn } from './hold.ts';
import { definitionOf } from './holding.ts';
import type { HostReader } from './host.ts';
import type { Insides } from './inside-facts.ts';
import { memoByKey } from './memo.ts';
import { refuseSaved } from './domain-look.ts';
import { inspectGuest } from './inspect-guest.ts';
import { inspectSnapshots } from './inspect-snapshots.ts';
import { inspectImage } from './inspect-image.ts';
import { inspectMove } from './inspect-move.ts';
import { inspectOwn } from './inspect-own.ts';
import { inspectClone, inspectRefresh } from './inspect-refresh.ts';
import { recordsOf } from './records.ts';
import type { LibvirtFacts, SourceFacts } from './types.ts';
import { readManifest } from './steps/manifest.ts';
import type { Virsh } from './virsh.ts';
import { attribute, child, parseXml, textOf } from './xml.ts';

export interface Reader {
  shell: Shell;
  virsh: Virsh;
  host: HostReader;
  definitions: Definitions;
  insides: Insides;
  store: string;
  accelerator: 'kvm' | 'tcg';
  /** Folders that images may be imported from. Left out: any. */
  importFolders?: readonly string[];
  /** How it reaches other hosts. Left out: not at all. */
  peers?: Peers;
  chainBudget: number;
}

type Specific = Omit<Partial<LibvirtFacts>, 'host' | 'at'>;
/** Many clones of one base asked for together are decided on one look at it, milliseconds. A base never changes. */
const SHARED_MS = 1000;

export function inspector(
  reader: Reader,
): (request: OperationRequest, signal: AbortSignal) => Promise<LibvirtFacts> {
  const bases = memoByKey<SourceFacts>(SHARED_MS);
  // A guest is looked at each time: what changed since the preview, even a moment ago, must make its plan stale.
  const sourceOf = (source: DriverSource, signal: AbortSignal): Promise<SourceFacts> =>
    source.type === 'guest'
      ? inspectGuest(reader, source.guest, signal)
      : source.absent
        ? Promise.resolve(absentBase(source.base))
        : bases(source.base.digest, () => inspectBase(reader, source.label, source.base));
  const cpus = cpuCheck(reader.virsh, reader.store);
  const sourceInside = async (from: DriverSource, signal: AbortSignal): Promise<SourceFacts> => {
    const source = await sourceOf(from, signal);
    const inside =
      from.type === 'base'
        ? await reader.insides.ofBase(from.base, { here: !from.absent })
        : source.state === 'stopped'
          ? await reader.insides.ofStopped(source.disks)
          : await reader.insides.ofRunning(from.guest, source.disks, source.agentAnswers, signal);
    // A guest was defined here; a base may come from another host.
    const cpuLacking = from.type === 'base' ? await cpus(source.definition) : undefined;
    return { ...source, inside, ...(cpuLacking === undefined ? {} : { cpuLacking }) };
  };
  const specific = async (request: OperationRequest, signal: AbortSignal): Promise<Specific> => {
    switch (request.kind) {
      case 'clone':
        return { source: await sourceInside(request.source, signal) };
      case 'capture':
        return { source: await sourceOf({ type: 'guest', guest: request.guest }, signal) };
      case 'import':
        return inspectImage(reader, request, signal);
      case 'start':
        return { guest: await inspectStart(reader, request.guest, signal) };
      case 'stop':
        return { guest: await needGuest(reader, request.guest, signal) };
      case 'delete':
        return inspectDeletion(reader, request, signal);
      case 'verify':
        await needGuest(reader, request.guest, signal);
        return {
          compared: {
            mine: await inspectGuest(reader, request.guest, signal),
            theirs: await sourceOf(request.against, signal),
          },
        };
      case 'snapshot':
      case 'revert':
      case 'remove-snapshot': {
        const [snapshots] = await Promise.all([
          inspectSnapshots(reader, request.guest, signal),
          request.kind === 'remove-snapshot' || refuseSaved(reader.virsh, request.guest, signal),
        ]);
        return { snapshots };
      }
      case 'promote': {
        const [own, source] = await Promise.all([
          inspectOwn(reader, request, signal),
          inspectGuest(reader, request.guest, signal),
          refuseUsed(reader, request.guest.name, request.owned, signal, request.guest.uuid),
        ]);
        const { guest, generations } = request;
        const clone = generations && (await inspectClone(reader, guest, generations, signal));
        return { own, source, ...(clone ? { clone } : {}) };
      }
      case 'reset': {
        const [own, source] = await Promise.all([
          inspectOwn(reader, request, signal),
          sourceInside({ type: 'base', label: request.label, base: request.base }, signal),
          refuseUsed(reader, request.guest.name, request.owned, signal, request.guest.uuid),
        ]);
        return { own, source };
      }
      case 'refresh': {
        const [found] = await Promise.all([
          inspectRefresh(reader, request, signal),
          // Files of older states are merged and removed.
          refuseUsed(reader, request.guest.name, request.owned, signal, request.guest.uuid),
        ]);
        return found;
      }
      case 'export': {
        const { source } = request;
        if (source.type === 'guest') await refuseSaved(reader.virsh, source.guest, signal);
        return { source: await sourceOf(source, signal) };
      }
      case 'migrate':
        await refuseUsed(reader, request.guest.name, request.owned, signal, request.guest.uuid);
        return { move: await inspectMove(reader, request, signal) };
      case 'transfer':
        return { transfer: await inspectTransfer(reader, request.base.digest) };
      case 'restore':
        return { clone: await inspectClone(reader, request.guest, request.generations, signal) };
      default:
        await refuseUsed(
          reader,
          request.label,
          request.base.disks.map((disk) => disk.path),
          signal,
        );
        return {};
    }
  };
  return async (request, signal) => {
    const [host, version, machine, takenNames, domains, mine] = await Promise.all([
      request.kind === 'clone' || request.kind === 'import'
        ? reader.host.facts()
        : reader.host.facts({ networks: 'known' }),
      reader.host.libvirtVersion(),
      reader.host.machine(),
      request.kind === 'clone' ? reader.definitions.names() : [],
      request.kind === 'clone' ? reader.definitions.all(signal) : undefined,
      specific(request, signal),
    ]);
    if (signal.aborted) throw signal.reason;
    return {
      host,
      takenNames,
      at: new Date().toISOString(),
      libvirtVersion: version,
      store: reader.store,
      accelerator: reader.accelerator,
      chainBudget: reader.chainBudget,
      machine,
      takenMacs: [...(domains?.values() ?? [])].flatMap((domain) => domain.nics.map((nic) => nic.mac)).sort(),
      ...(mine.source?.inside ? { inside: mine.source.inside.inside } : {}),
      ...mine,
    };
  };
}

async function inspectTransfer(
  { shell, store, peers }: Reader,
  digest: string,
): Promise<NonNullable<LibvirtFacts['transfer']>> {
  const manifest = await readManifest(shell, `${store}/bases/${digest.slice(0, 12)}`);
  const here = manifest?.digest === digest;
  return peers ? { here } : { here, obstacle: 'its worker is not set up to' };
}

/** What a base will be when it has come from the host that describes it: enough to show what a clone of it will take. */
function absentBase(base: CapturedBase): SourceFacts {
  return {
    state: 'template',
    definition: base.definition,
    disks: base.disks.map(({ target, path, format, virtualBytes, allocatedBytes }) => ({
      target,
      path,
      type: 'file' as const,
      format,
      virtualBytes,
      allocatedBytes,
      chain: [],
      reflinkable: false,
    })),
    agentAnswers: false,
    snapshots: [],
    ...(base.memory ? { warm: true } : {}),
  };
}

/** The base as recorded must be the base on disk: present, of the same size, never written to. */
async function inspectBase({ shell }: Reader, label: string, base: CapturedBase): Promise<SourceFacts> {
  const disks = await Promise.all(
    base.disks.map(async (disk) => {
      const stat = await shell.stat(disk.path);
      if (!stat) {
        throw new OffshootError('source-missing', {
          publicMessage: `A disk of ${label} is gone from the host: ${disk.path}.`,
          remedy: 'Make a new version of the template.',
          field: 'source',
        });
      }
      return {
        target: disk.target,
        path: disk.path,
        type: 'file' as const,
        format: disk.format,
        virtualBytes: disk.virtualBytes,
        allocatedBytes: stat.allocated,
        chain: [
          {
            path: disk.path,
            format: disk.format,
            virtualBytes: disk.virtualBytes,
            size: stat.size,
            allocated: stat.allocated,
            modifiedMs: stat.modifiedMs,
            externalData: false,
          },
        ],
        reflinkable: false,
      };
    }),
  );
  const [nvram, image] = await Promise.all([
    base.nvramPath === undefined ? undefined : shell.stat(base.nvramPath),
    base.memory === undefined ? undefined : shell.stat(base.memory.path),
  ]);
  if (base.memory && image?.size !== base.memory.bytes)
    throw new OffshootError('source-missing', {
      publicMessage: `The saved memory of ${label} is ${image ? 'not as it was saved' : 'gone from the host'}: ${base.memory.path}.`,
      remedy: 'Make a new version of the template.',
      field: 'source',
    });
  return {
    state: 'template',
    definition: base.definition,
    disks,
    agentAnswers: false,
    snapshots: [],
    ...(base.memory ? { warm: true } : {}),
    ...(base.nvramPath !== undefined && nvram
      ? { nvram: { path: base.nvramPath, size: nvram.size, modifiedMs: nvram.modifiedMs, type: nvram.type } }
      : {}),
  };
}

async function needGuest(
  { virsh }: Reader,
  guest: GuestRef,
  signal: AbortSignal,
): Promise<NonNullable<LibvirtFacts['guest']>> {
  const state = await virsh.state(guest.uuid, signal);
  if (state !== undefined) return { ...guest, state };
  throw new OffshootError('not-found', {
    publicMessage: `The host knows no guest ${guest.name} any more.`,
    remedy: 'Reload the list of guests: it was removed by another hand.',
  });
}

/** With what it is held back for. */
async function inspectStart(
  reader: Reader,
  guest: GuestRef,
  signal: AbortSignal,
): Promise<NonNullable<LibvirtFacts['guest']>> {
  const [found, definition] = await Promise.all([
    needGuest(reader, guest, signal),
    definitionOf(reader.virsh, guest, signal),
  ]);
  const awaiting = awaitingIn(definition);
  return { ...found, ...(awaiting ? { awaiting } : {}) };
}

async function inspectDeletion(
  reader: Reader,
  request: Extract<OperationRequest, { kind: 'delete' }>,
  signal: AbortSignal,
): Promise<Specific> {
  const state = await reader.virsh.state(request.guest.uuid, signal);
  await refuseUsed(reader, request.guest.name, request.owned, signal, request.guest.uuid);
  const records = request.source ? await recordsOf(reader.virsh, request.source, request.guest, signal) : [];
  if (state === undefined) return { records };
  const nvramPath = (await reader.definitions.all(signal)).get(request.guest.uuid)?.nvram?.path;
  return { records, guest: { ...request.guest, state, ...(nvramPath === undefined ? {} : { nvramPath }) } };
}

/** Throws `in-use`, naming who stands on one of the files. `except`: UUID of the guest they belong to. */
export async function refuseUsed(
  reader: Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store'>,
  what: string,
  files: readonly string[],
  signal: AbortSignal,
  except?: string,
): Promise<void> {
  const disks = (await knownDisks(reader, signal, except)).filter(
    (disk) => except === undefined || !files.includes(disk.path),
  );
  const users = await usersOf(reader.shell, files, disks, signal);
  if (users.length === 0) return;
  const shown = users.slice(0, 5).join(', ') + (users.length > 5 ? ` and ${users.length - 5} more` : '');
  throw new OffshootError('in-use', {
    publicMessage: `${users.length === 1 ? 'A guest stands' : `${users.length} guests stand`} on the disks of ${what}: ${shown}.`,
    remedy: users.length === 1 ? 'Delete it first, or keep this.' : 'Delete them first, or keep this.',
    context: { users, files: [...files] },
  });
}

/** Disks of all guests of the host, and files in the store's disk folders that belong to no guest. */
async function knownDisks(
  { shell, virsh, definitions, store }: Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store'>,
  signal: AbortSignal,
  except?: string,
): Promise<DiskOwner[]> {
  const known = new Map<string, DiskOwner>();
  const [defined, running] = await Promise.all([definitions.all(signal, true), definitions.running(signal)]);
  for (const domain of [...defined.values(), ...running]) {
    if (domain.uuid === except) continue;
    for (const disk of domain.disks) {
      const path = disk.path ?? (disk.volume && (await pathOfVolume(virsh, disk.volume, signal)));
      if (path !== undefined)
        known.set(path, {
          path,
          owner: domain.name,
          ...(disk.device === 'disk' ? { format: disk.format } : {}),
        });
    }
  }
  const root = `${store}/disks`;
  for (const folder of await listOf(shell, root))
    for (const file of await listOf(shell, `${root}/${folder}`)) {
      const path = `${root}/${folder}/${file}`;
      if (/\.(qcow2|raw)$/.test(file) && !known.has(path)) known.set(path, { path, owner: path });
    }
  return [...known.values()];
}

/**
 * Undefined when its pool is not there, or is stopped and no folder: volumes of those that are (`dir`, `fs`, `netfs`) are
 * files below the pool's target, also while it is stopped (libvirt's storage pool format).
 */
async function pathOfVolume(
  virsh: Virsh,
  { pool, name }: NonNullable<DomainDisk['volume']>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const path = await virsh.run(['vol-path', '--pool', pool, '--vol', name], { signal, okCodes: [0, 1] });
  if (path !== '') return path;
  const xml = await virsh.run(['pool-dumpxml', '--pool', pool], { signal, okCodes: [0, 1] });
  if (xml === '') return undefined;
  const { root } = parseXml(xml, 'pool');
  const folder = textOf(child(child(root, 'target'), 'path'));
  return /^(dir|fs|netfs)$/.test(attribute(root, 'type') ?? '') && folder !== ''
    ? `${folder}/${name}`
    : undefined;
}

async function listOf(shell: Shell, folder: string): Promise<string[]> {
  return (await shell.stat(folder))?.type === 'directory' ? shell.list(folder) : [];
}
