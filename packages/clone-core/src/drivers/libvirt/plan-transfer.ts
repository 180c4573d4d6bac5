/** Plans that bring a base from another host. Pure. */
import { listPathOf } from '../../disks/transfer/block-list.ts';
import type { IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { directory, estimate, file, gib, info, needSpace, warn, type Draft } from './plan-parts.ts';
import type { LibvirtFacts } from './types.ts';

/** What a link carries until anything else is known, bytes per second: 1 Gbit/s less headers. */
const ASSUMED_LINK = 117e6;

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

export function planTransfer(
  request: Extract<OperationRequest, { kind: 'transfer' }>,
  facts: LibvirtFacts,
  ids: IdSource,
): Draft {
  const { base, label, sources, older, replace, bytesPerSecond } = request;
  const known = facts.transfer ?? { here: false };
  if (known.obstacle !== undefined)
    throw new OffshootError('unavailable-mode', {
      publicMessage: `This host can’t take bases from others: ${known.obstacle}.`,
      remedy: 'Run its worker on the host itself and set OFFSHOOT_PEER_ADDRESS to the host’s address.',
      field: 'hostId',
    });
  const bytes = base.disks.reduce((sum, disk) => sum + disk.allocatedBytes, base.memory?.bytes ?? 0);
  const here = known.here && !replace;
  if (!here) needSpace(facts, bytes, false);
  const captureId = ids.uuid();
  const from = `${facts.store}/bases/.transfer-${captureId}`;
  const files = [
    ...base.disks.map((disk) => disk.path),
    ...(base.nvramPath === undefined ? [] : [base.nvramPath]),
    ...(base.memory === undefined ? [] : [base.memory.path]),
  ].map(nameOf);
  const first = sources[0]?.name ?? 'another host';
  const moved = here ? 0 : bytes;
  const plain = estimate(facts, { read: 0, move: 0, store: here ? 0 : bytes }, { steps: 1 });
  const rate = Math.min(ASSUMED_LINK, bytesPerSecond ?? Infinity);
  return {
    summary: here ? `${label} is on this host already` : `Bring ${label} here from ${first}`,
    strategy: 'transfer',
    estimates: {
      ...plain,
      moveBytes: moved,
      seconds: Math.round((plain.seconds + moved / rate) * 10) / 10,
    },
    notes: [
      ...(older.length > 0 && !here
        ? [info(`An older version is here: only what changed travels, at most ${gib(bytes)}.`)]
        : []),
      ...(replace ? [warn('The copy on this host is damaged; what is good of it is kept.')] : []),
    ],
    steps: [
      {
        kind: 'fetch-base',
        title: here ? 'Look at what is here' : `Fetch it from ${first}`,
        captureId,
        digest: base.digest,
        definition: base.definition,
        from,
        into: `${facts.store}/bases`,
        disks: base.disks.map(({ target, path, format, digest, blocks, virtualBytes }) => ({
          target,
          file: nameOf(path),
          format,
          digest,
          ...(blocks === undefined ? {} : { blocks }),
          virtualBytes,
        })),
        ...(base.nvramPath === undefined ? {} : { nvramFile: nameOf(base.nvramPath) }),
        ...(base.memory === undefined ? {} : { memory: memoryOf(base.memory) }),
        sources,
        older: older.flatMap((each) => each.disks.map((disk) => disk.path)),
        replace,
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        bytes,
      },
    ],
    creates: [
      directory(from),
      ...files.map((name) => file(`${from}/${name}`)),
      ...base.disks.map(({ path }) => file(listPathOf(`${from}/${nameOf(path)}`))),
    ],
    // Where it comes from may change until it begins; what comes does not.
    basis: [base.digest, replace],
  };
}

function memoryOf<T extends { path: string }>({ path, ...point }: T): Omit<T, 'path'> & { file: string } {
  return { ...point, file: nameOf(path) };
}
