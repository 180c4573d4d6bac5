/** Plans that move a guest to another host. Pure. */
import type { IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { movedDefinition } from './moving/definition.ts';
import { refuseMove } from './move-refusals.ts';
import {
  directory,
  estimate,
  file,
  gib,
  info,
  UNDEFINE_TPM,
  warn,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import type { DiskFacts, LibvirtFacts, MoveFacts, ReceiveGuestStep } from './types.ts';

type MoveRequest = Extract<OperationRequest, { kind: 'migrate' }>;
type Format = 'qcow2' | 'raw';

/** What a link carries until anything else is known, bytes per second: 1 Gbit/s less headers. */
const ASSUMED_LINK = 117e6;

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

interface Disk extends DiskFacts {
  /** Its file there. */
  file: string;
  /** What it stands on there. */
  onto?: { path: string; format: Format };
  /** Its states and layers become one file. */
  whole: boolean;
  bytes: number;
}

/**
 * Stopped: its files are taken by the other host as they are, it is defined there, and only when libvirt there answers
 * for it does it go from here. Running: QEMU copies its disks and memory while it runs.
 */
export function planMove(request: MoveRequest, facts: LibvirtFacts, ids: IdSource): Draft {
  const move = facts.move;
  if (!move)
    throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
  const { guest, target, owned } = request;
  const { there, source, extras } = move;
  const disks = disksOf(request, move);
  const bytes =
    disks.reduce((sum, disk) => sum + disk.bytes, 0) + extras.reduce((sum, { size }) => sum + size, 0);
  refuseMove(request, facts, move, bytes);
  const folder = `${guest.name}-${ids.uuid().slice(0, 8)}`;
  const at = `${there.store}/disks/${folder}`;
  const paths = new Map([
    ...disks.map((disk): [string, string] => [disk.path, `${at}/${disk.file}`]),
    ...extras.map(({ path }): [string, string] => [path, `${at}/${nameOf(path)}`]),
  ]);
  const running = source.state !== 'stopped';
  const memory = running ? memoryOf(source.definition) : 0;
  const xml = movedDefinition(move.live ?? source.definition, paths, request.network);
  const common = { target, guest };
  const leaving = `${facts.store}/disks/${folder}-leaving`;
  const receive = receiveStep(request, move, disks, { folder, leaving, running });
  const travelling = running ? travel(request, facts, disks, xml, bytes + memory) : [];
  const gathered = running ? [] : gather(request, disks, leaving);
  const steps: DraftStep[] = [
    ...gathered,
    receive,
    ...travelling,
    ...(running
      ? []
      : [
          {
            kind: 'define-there' as const,
            title: `Define it on ${target.name}`,
            ...common,
            folder,
            xml,
            stopped: guest,
            expects: receive.files.flatMap(({ expects }) => (expects ? [expects] : [])),
          },
        ]),
    ...leave(request, facts, move, gathered),
  ];
  const moved = bytes + memory;
  const plain = estimate(facts, { read: bytes, move: moved, store: 0 }, { steps: steps.length });
  return {
    summary: `Move ${guest.name} to ${target.name}`,
    strategy: running ? 'migrate' : 'transfer',
    estimates: { ...plain, storeBytes: bytes, seconds: round(plain.seconds + moved / ASSUMED_LINK) },
    notes: notesOf(request, move, disks, bytes, memory),
    steps,
    creates: gathered.length === 0 ? [] : [...gatheredFiles(gathered)],
    moves: {
      hostId: target.hostId,
      owned: [...paths.values()],
      ...(disks.some((disk) => disk.onto) && request.base ? { baseDigest: request.base.digest } : {}),
    },
    basis: [
      guest.uuid,
      target.hostId,
      source.state,
      request.network ?? '',
      disks.map(({ target: name, chain, whole }) => [name, whole, chain.map(({ path }) => path)]),
      owned.toSorted(),
    ],
  };
}

const round = (seconds: number): number => Math.round(seconds * 10) / 10;

function disksOf({ base }: MoveRequest, { source, there }: MoveFacts): Disk[] {
  return source.disks.map((disk): Disk => {
    const below = disk.chain[1];
    const original = base?.disks.find((each) => each.path === below?.path);
    const shared = disk.chain.length === 2 && original !== undefined;
    const here = there.base?.find((each) => each.target === original?.target);
    // Until it is there, it will be where every base is.
    const path =
      here?.path ?? `${there.store}/bases/${base?.digest.slice(0, 12) ?? ''}/${nameOf(original?.path ?? '')}`;
    const whole = !shared && disk.chain.length > 1;
    return {
      ...disk,
      whole,
      file: `${disk.target}.${whole ? 'qcow2' : disk.format}`,
      bytes: whole ? disk.allocatedBytes : (disk.chain[0]?.allocated ?? 0),
      ...(shared ? { onto: { path, format: original.format === 'raw' ? 'raw' : 'qcow2' } } : {}),
    };
  });
}

/** Of a stopped guest, disks in several layers of its own are written into one file first. */
function gather(
  { guest }: MoveRequest,
  disks: readonly Disk[],
  leaving: string,
): Extract<DraftStep, { kind: 'copy-disk' }>[] {
  return disks.flatMap((disk) =>
    disk.whole
      ? [
          {
            kind: 'copy-disk' as const,
            title: `Write disk ${disk.target} into one file`,
            target: disk.target,
            from: disk.path,
            fromFormat: disk.format,
            to: `${leaving}/${disk.file}`,
            strategy: 'convert' as const,
            bytes: disk.allocatedBytes,
            virtualBytes: disk.virtualBytes,
            expects: disk.chain.map(({ path, modifiedMs, size }) => ({ path, modifiedMs, size })),
            stopped: guest,
          },
        ]
      : [],
  );
}

const gatheredFiles = (gathered: readonly Extract<DraftStep, { kind: 'copy-disk' }>[]): Draft['creates'] =>
  [...new Set(gathered.map(({ to }) => to.slice(0, to.lastIndexOf('/'))))]
    .map(directory)
    .concat(gathered.map(({ to }) => file(to)));

function receiveStep(
  { guest, target }: MoveRequest,
  move: MoveFacts,
  disks: readonly Disk[],
  { folder, leaving, running }: { folder: string; leaving: string; running: boolean },
): Extract<DraftStep, { kind: 'receive-guest' }> {
  const { extras, tpm } = move;
  const bytes = extras.reduce((sum, { size }) => sum + size, 0);
  const contents = running ? [] : disks;
  return {
    kind: 'receive-guest',
    title: running ? `Make room on ${target.name}` : `Bring its files to ${target.name}`,
    target,
    guest,
    folder,
    prepare: running
      ? disks.map((disk): ReceiveGuestStep['prepare'][number] => ({
          file: disk.file,
          format: disk.whole || disk.format !== 'raw' ? 'qcow2' : 'raw',
          virtualBytes: disk.virtualBytes,
          ...(disk.onto ? { onto: disk.onto } : {}),
        }))
      : [],
    files: [
      ...contents.map((disk) => ({
        from: disk.path,
        file: disk.file,
        ...(disk.onto ? { onto: disk.onto } : {}),
        ...expected(disk.chain[0]),
      })),
      ...extras.map(({ path, size, modifiedMs }) => ({
        from: path,
        file: nameOf(path),
        // Of a running guest they change; what QEMU holds of them travels with its memory.
        ...(running ? {} : { expects: { path, size, modifiedMs } }),
      })),
    ].map((each) => gatheredSource(each, disks, leaving)),
    ...(tpm && !running ? { tpm: { uuid: guest.uuid, ...tpm } } : {}),
    ...(running ? {} : { stopped: guest }),
    bytes: bytes + contents.reduce((sum, disk) => sum + disk.bytes, 0),
  };
}

const expected = (
  chain: Disk['chain'][number] | undefined,
): Pick<ReceiveGuestStep['files'][number], 'expects'> =>
  chain === undefined
    ? {}
    : { expects: { path: chain.path, modifiedMs: chain.modifiedMs, size: chain.size } };

/** What was written into one file is taken from there. */
function gatheredSource(
  each: ReceiveGuestStep['files'][number],
  disks: readonly Disk[],
  leaving: string,
): ReceiveGuestStep['files'][number] {
  const disk = disks.find(({ path, whole }) => whole && path === each.from);
  return disk ? { from: `${leaving}/${disk.file}`, file: each.file } : each;
}

function travel(
  { guest, target }: MoveRequest,
  { store }: LibvirtFacts,
  disks: readonly Disk[],
  xml: string,
  bytes: number,
): DraftStep[] {
  return [
    {
      kind: 'migrate-live',
      title: 'Move it while it runs, with its memory',
      commits: true,
      standsOnEarlier: true,
      target,
      guest,
      xml,
      scratch: `${store}/.migrate-${guest.uuid}.xml`,
      storage: disks.some((disk) => disk.whole) ? 'all' : 'inc',
      targets: disks.map((disk) => disk.target),
      bytes,
    },
  ];
}

/** Files go before the definition, as in a deletion. */
function leave(
  { guest, owned }: MoveRequest,
  facts: LibvirtFacts,
  { extras }: MoveFacts,
  gathered: readonly Extract<DraftStep, { kind: 'copy-disk' }>[],
): DraftStep[] {
  const files = [...new Set([...owned, ...gathered.map(({ to }) => to)])];
  const folders = [...new Set(files.map((path) => path.slice(0, path.lastIndexOf('/'))))].filter((each) =>
    each.startsWith(`${facts.store}/disks/`),
  );
  return [
    {
      kind: 'remove-files',
      irreversible: true,
      title: files.length === 1 ? 'Delete its file here' : `Delete its ${files.length} files here`,
      paths: files,
      folders,
    },
    {
      kind: 'undefine',
      irreversible: true,
      title: `Remove ${guest.name} from this host`,
      guest,
      tpm: facts.libvirtVersion >= UNDEFINE_TPM,
      nvram: extras.every(({ path }) => owned.includes(path)),
    },
  ];
}

const memoryOf = (definition: string): number => {
  const [, unit = 'KiB', amount = '0'] = /<memory(?: unit=['"](\w+)['"])?>(\d+)</.exec(definition) ?? [];
  return Number(amount) * (unit === 'KiB' ? 1024 : unit === 'MiB' ? 1024 ** 2 : 1024);
};

function notesOf(
  request: MoveRequest,
  move: MoveFacts,
  disks: readonly Disk[],
  bytes: number,
  memory: number,
): Draft['notes'] {
  const { target, base, generations } = request;
  const { source, there, live } = move;
  const whole = disks.filter((disk) => disk.whole);
  return [
    info(
      live === undefined
        ? `Its disks, firmware settings, TPM state and definition go there (${gib(bytes)}). It stays stopped, the same guest: name, UUID and MAC addresses.`
        : `It keeps running: its disks (${gib(bytes)}) and its memory (at most ${gib(memory)}) are copied meanwhile. It stands still for less than a second at the end, longer if it writes faster than the link carries. Its connections stay open where its network is the same there.`,
    ),
    info(
      `It goes from here only when ${target.name} answers for it; until then nothing of it is changed here.`,
    ),
    ...(base && there.base === undefined && disks.some((disk) => disk.onto)
      ? [
          info(
            `Its base (${gib(base.disks.reduce((sum, disk) => sum + disk.allocatedBytes, 0))}) goes there first.`,
          ),
        ]
      : []),
    ...(generations
      ? [
          warn(
            'Its earlier states stay behind and are deleted: afterwards its present state is all there is, and it can’t be refreshed any more.',
          ),
        ]
      : []),
    ...(whole.length > 0 && !generations
      ? [info(`Its ${whole.length === 1 ? 'disk becomes' : 'disks become'} one file each.`)]
      : []),
    ...(request.network === undefined
      ? []
      : [warn(`Its network cards are connected to ${request.network} there; its addresses may change.`)]),
    ...(live === undefined && source.definition.includes('host-passthrough') && there.machine !== ''
      ? [info(`Its processor is whatever ${target.name} has.`)]
      : []),
  ];
}
