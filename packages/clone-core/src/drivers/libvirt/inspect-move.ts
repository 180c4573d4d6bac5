/** Looks at a guest that is to go to another host, and asks that host what it would find there. */
import type { OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { readDomain } from './domain-read.ts';
import { inspectGuest } from './inspect-guest.ts';
import type { Reader } from './inspect.ts';
import { askHost } from './moving/line.ts';
import { lookSchema } from './moving/protocol.ts';
import type { MoveFacts } from './types.ts';
import { attribute, child, childrenOf, parseXml } from './xml.ts';

type MoveRequest = Extract<OperationRequest, { kind: 'migrate' }>;

/** @throws OffshootError `unavailable-mode` when this worker reaches no others, `source-missing`, `host-unreachable` */
export async function inspectMove(
  reader: Reader,
  request: MoveRequest,
  signal: AbortSignal,
): Promise<MoveFacts> {
  const { virsh, shell, peers } = reader;
  const { guest, owned, target, base } = request;
  if (!peers)
    throw new OffshootError('unavailable-mode', {
      publicMessage: 'This host’s worker reaches no other hosts, so no guest can go from here.',
      remedy: 'Run its worker on the host itself and set OFFSHOOT_PEER_ADDRESS to the host’s address.',
      field: 'hostId',
    });
  const source = await inspectGuest(reader, guest, signal);
  const live =
    source.state === 'stopped'
      ? undefined
      : await virsh.run(['dumpxml', '--migratable', '--security-info', '--domain', guest.uuid], { signal });
  const domain = readDomain(source.definition);
  const media = domain.disks.flatMap(({ device, path }) =>
    device === 'cdrom' && path !== undefined && owned.includes(path) ? [path] : [],
  );
  const settings = source.nvram?.type === 'file' ? [source.nvram.path] : [];
  const extras = await Promise.all(
    [...settings, ...media].map(async (path) => {
      const stat = await shell.stat(path);
      return stat ? [{ path, size: stat.size, modifiedMs: stat.modifiedMs }] : [];
    }),
  );
  const [saved, records, tpm, answer] = await Promise.all([
    virsh.run(['list', '--all', '--with-managed-save', '--uuid'], { signal }),
    virsh.maybe(['checkpoint-list', '--name', '--domain', guest.uuid], { signal }),
    source.tpm?.exists === true ? tpmFiles(reader, source.tpm.statePath, signal) : undefined,
    askHost(
      peers,
      target,
      {
        ask: 'look',
        guest,
        definition: withoutOwn(live ?? source.definition, media),
        ...(base === undefined ? {} : { base: base.digest }),
      },
      signal,
    ),
  ]);
  const unmovable = live === undefined ? undefined : whyUnmovable(live);
  return {
    source,
    extras: extras.flat(),
    saved: saved.includes(guest.uuid),
    records: (records ?? '').split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()])),
    there: lookSchema.parse(answer),
    ...(live === undefined ? {} : { live }),
    ...(unmovable === undefined ? {} : { unmovable }),
    ...(tpm ? { tpm } : {}),
  };
}

/** Files that go along need not be there. */
function withoutOwn(xml: string, paths: readonly string[]): string {
  return paths.reduce(
    (text, path) => text.replaceAll(`file='${path}'`, '').replaceAll(`file="${path}"`, ''),
    xml,
  );
}

async function tpmFiles(
  { shell }: Reader,
  folder: string,
  signal: AbortSignal,
): Promise<NonNullable<MoveFacts['tpm']>> {
  const [found, owner] = [
    await shell.run(['find', folder, '-type', 'f', '-not', '-name', '.*', '-printf', '%P\\n'], { signal }),
    await shell.run(['stat', '--format', '%U', '--', folder], { signal }),
  ];
  return {
    folder,
    owner: owner.stdout.trim(),
    files: found.stdout.split('\n').filter((line) => line !== ''),
  };
}

/** Devices whose state is not in QEMU: libvirt refuses them in the middle, here they are told before. */
function whyUnmovable(definition: string): string | undefined {
  const devices = child(parseXml(definition, 'domain').root, 'devices');
  const nics = childrenOf(devices, 'interface').map((nic) => attribute(nic, 'type'));
  if (childrenOf(devices, 'hostdev').length > 0 || nics.includes('hostdev'))
    return 'it has a device of the host passed through';
  if (childrenOf(devices, 'filesystem').length > 0) return 'it has a folder of the host shared into it';
  if (childrenOf(devices, 'shmem').length > 0) return 'it shares memory with other programs of the host';
  return undefined;
}
