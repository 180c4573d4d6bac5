/** Looks at a guest that is to be cloned or captured: definition, state, every disk's chain, firmware, TPM, agent. */
import type { GuestRef } from '../../driver.ts';
import { onFilesystemOf } from '../../disks/reflink.ts';
import { readChain, type ChainFile } from '../../disks/chain.ts';
import { OffshootError } from '../../errors.ts';
import { agentAbilities, answeredPing, pinging } from './agent.ts';
import { lookAtDomain } from './domain-look.ts';
import { readDomain, type Domain, type DomainDisk } from './domain-read.ts';
import type { Reader } from './inspect.ts';
import { memoryObstacle } from './memory-limits.ts';
import { TPM_STATE } from './moving/places.ts';
import type { Answer, Virsh } from './virsh.ts';
import type { DiskFacts, DomainState, SourceFacts } from './types.ts';

/** `memory: false`: whether its memory can be cloned is not asked. */
export async function inspectGuest(
  reader: Reader,
  guest: GuestRef,
  signal: AbortSignal,
  { memory = true } = {},
): Promise<SourceFacts> {
  const { virsh } = reader;
  const missing = (): OffshootError =>
    new OffshootError('source-missing', {
      publicMessage: `The source ${guest.name} is gone from the host.`,
      remedy: 'Choose another source.',
      field: 'source',
    });
  // Both in one process.
  const [look, pings] = await Promise.all([
    lookAtDomain(virsh, guest, signal),
    memory ? undefined : virsh.ask([pinging(guest.uuid)], { signal }),
  ]);
  if (!look) throw missing();
  const { definition, state, snapshots, saved } = look;
  refuseSharedMemoryFiles(definition, guest.name);
  const [domain, live] = [readDomain(definition), readDomain(look.live)];
  const copied = copiedDisks(domain, guest.name).map((disk) => liveDisk(disk, live, guest.name));
  const [disks, agent, nvram, tpm] = await Promise.all([
    diskFacts(reader, guest.name, copied, signal),
    state === 'running' ? agentOf(virsh, guest, pings, signal) : undefined,
    nvramOf(reader, domain, live),
    tpmOf(reader, domain),
  ]);
  // It may have been started or stopped while its chains were read. Of one that does not run any more no backup begins.
  if (memory || state !== 'running') {
    const now = await virsh.state(guest.uuid, signal);
    if (now === undefined) throw missing();
    if (now !== state) throw changed(guest.name, state, now);
  }
  const obstacle =
    memory && state === 'running' ? (memoryObstacle(look.live) ?? agentObstacle(agent?.can)) : undefined;
  return {
    state,
    definition,
    disks,
    agentAnswers: agent !== undefined,
    snapshots,
    ...(saved ? { memorySaved: true } : {}),
    ...(nvram ? { nvram } : {}),
    ...(tpm ? { tpm } : {}),
    ...(obstacle === undefined ? {} : { memoryObstacle: obstacle }),
  };
}

type Abilities = Awaited<ReturnType<typeof agentAbilities>>;

/** Undefined: it does not answer. `pings`: it was asked already, and need not say what it can. */
async function agentOf(
  virsh: Virsh,
  { uuid }: GuestRef,
  pings: readonly Answer[] | undefined,
  signal: AbortSignal,
): Promise<{ can?: Abilities } | undefined> {
  if (pings) return answeredPing(pings[0]) ? {} : undefined;
  const can = await agentAbilities(virsh, uuid, signal);
  return can && { can };
}

/** Only the agent can make a guest that goes on from another's memory a guest of its own. */
function agentObstacle(agent: Abilities): string | undefined {
  if (!agent)
    return 'its guest agent does not answer, and only the agent can give the clone an identity inside';
  if (agent.system === 'mswindows') return 'it runs Windows, whose identity can’t be renewed while it runs';
  return agent.exec
    ? undefined
    : 'its guest agent may not run programs (guest-exec is switched off), so the clone could get no identity inside';
}

/** A clone would write to the same files as its source. */
function refuseSharedMemoryFiles(definition: string, name: string): void {
  const found = /<memory model=['"](nvdimm|virtio-pmem)['"]|<(pstore)[\s>]/.exec(definition);
  if (!found) return;
  throw new OffshootError('unsupported-disk', {
    publicMessage: `${name} has persistent memory (${found[1] ?? found[2]}) in a file of the host, which a clone would share and damage.`,
    remedy: 'Remove the device from the guest, or choose another source.',
    field: 'source',
  });
}

const changed = (name: string, was: DomainState, is: DomainState): OffshootError =>
  new OffshootError('source-changed', {
    publicMessage: `The source ${name} went from ${was} to ${is} while it was looked at.`,
    remedy: 'Try again.',
    field: 'source',
    retryable: true,
  });

/** Disks whose content a clone gets a copy of; media and shared disks stay by reference. Throws `unsupported-disk`. */
export function copiedDisks(domain: Domain, name: string): (DomainDisk & { path: string })[] {
  const copied: (DomainDisk & { path: string })[] = [];
  for (const disk of domain.disks) {
    if (disk.device === 'cdrom' || disk.device === 'floppy') continue;
    if (disk.device === 'disk' && (disk.readonly || disk.shareable)) continue;
    const why = unsupported(disk);
    if (why !== undefined) {
      throw new OffshootError('unsupported-disk', {
        publicMessage: `Disk ${disk.target} of ${name} can’t be cloned: ${why}.`,
        remedy: 'Copy it into an image file (qemu-img convert) and give the guest that instead.',
        field: 'source',
        context: { ...disk },
      });
    }
    if (disk.encrypted) {
      throw new OffshootError('source-encrypted', {
        publicMessage: `Disk ${disk.target} of ${name} is encrypted; a clone could not be opened without its secret.`,
        remedy: 'Clone a guest whose disks are not encrypted by the host.',
        field: 'source',
      });
    }
    if (disk.path !== undefined) copied.push({ ...disk, path: disk.path });
  }
  return copied;
}

function unsupported(disk: DomainDisk): string | undefined {
  if (disk.type === 'block' || disk.device === 'lun') return 'it is a raw block device';
  if (disk.type !== 'file') return `it is a ${disk.type} disk, not an image file`;
  if (disk.sliced) return 'it is only a part of its file';
  return undefined;
}

/** The file a running guest writes to now; snapshots change it. */
function liveDisk(
  disk: DomainDisk & { path: string },
  live: Domain,
  name: string,
): DomainDisk & { path: string } {
  const now = live.disks.find((each) => each.target === disk.target);
  if (now?.path !== undefined) return { ...disk, path: now.path, format: now.format };
  throw new OffshootError('unsupported-disk', {
    publicMessage: `Disk ${disk.target} is in the definition of ${name} but not in the running guest.`,
    remedy: 'Stop the source, then clone it.',
    field: 'source',
  });
}

async function diskFacts(
  { shell, store, host }: Reader,
  name: string,
  disks: (DomainDisk & { path: string })[],
  signal: AbortSignal,
): Promise<DiskFacts[]> {
  const chains = await Promise.all(
    disks.map((disk) =>
      readChain(
        shell,
        { path: disk.path, format: disk.format, label: `disk ${disk.target} of ${name}` },
        signal,
      ),
    ),
  );
  const shares = (await host.facts({ networks: 'known' })).store.reflink;
  const same = shares
    ? await onFilesystemOf(
        shell,
        store,
        disks.map((disk) => disk.path),
        signal,
      )
    : [];
  return disks.map((disk, index) => {
    const chain = chains[index] ?? [];
    refuseChain(disk, chain, name);
    return {
      target: disk.target,
      path: disk.path,
      type: 'file',
      format: disk.format,
      virtualBytes: chain[0]?.virtualBytes ?? 0,
      allocatedBytes: chain.reduce((sum, file) => sum + file.allocated, 0),
      chain,
      reflinkable: same[index] ?? false,
    };
  });
}

function refuseChain(disk: DomainDisk, chain: readonly ChainFile[], name: string): void {
  const odd = chain.find((file) => file.externalData) ? 'its content is in a separate data file' : undefined;
  const why =
    odd ??
    (disk.format === 'qcow2' || disk.format === 'raw'
      ? undefined
      : `its format ${disk.format} is not supported`);
  if (why === undefined) return;
  throw new OffshootError('unsupported-disk', {
    publicMessage: `Disk ${disk.target} of ${name} can’t be cloned: ${why}.`,
    remedy: 'Convert it to qcow2 first (qemu-img convert -O qcow2).',
    field: 'source',
  });
}

async function nvramOf({ shell }: Reader, domain: Domain, live: Domain): Promise<SourceFacts['nvram']> {
  const path = domain.nvram?.path ?? live.nvram?.path;
  const stat = path === undefined ? undefined : await shell.stat(path);
  return path !== undefined && stat
    ? { path, size: stat.size, modifiedMs: stat.modifiedMs, type: stat.type }
    : undefined;
}

async function tpmOf({ shell, virsh }: Reader, domain: Domain): Promise<SourceFacts['tpm']> {
  if (!domain.hasEmulatedTpm || !virsh.uri.endsWith('/system')) return undefined;
  const statePath = `${TPM_STATE}/${domain.uuid}`;
  return { statePath, exists: (await shell.stat(statePath))?.type === 'directory' };
}
