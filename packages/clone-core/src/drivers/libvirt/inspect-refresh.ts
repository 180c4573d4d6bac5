/** Looks at a full clone and its source for a refresh, a restore or a deletion. Changes nothing. */
import { storedIn } from '../../disks/layers.ts';
import { readChain, type ChainFile } from '../../disks/chain.ts';
import type { Generations } from '../../contract.ts';
import type { GuestRef, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { lookAtDomain, refuseIfSaved } from './domain-look.ts';
import { readDomain } from './domain-read.ts';
import { asDefined, isUntouched } from './generations.ts';
import { whyNotCarried } from './plan-carry.ts';
import { copiedDisks, inspectGuest } from './inspect-guest.ts';
import type { Reader } from './inspect.ts';
import { covering, readRecords } from './records.ts';
import type { CloneFacts, LibvirtFacts } from './types.ts';

type Refresh = Extract<OperationRequest, { kind: 'refresh' }>;
type Specific = Pick<Partial<LibvirtFacts>, 'source' | 'clone' | 'record' | 'records'>;

export async function inspectRefresh(
  reader: Reader,
  request: Refresh,
  signal: AbortSignal,
): Promise<Specific> {
  const { guest, source, generations } = request;
  const recordOf = (of: Generations | undefined): string | undefined =>
    of?.list.find((each) => each.number === of.current)?.record;
  const name = recordOf(generations);
  const [clone, from, said] = await Promise.all([
    inspectClone(reader, guest, generations, signal),
    inspectGuest(reader, source, signal, { memory: false }),
    readRecords(reader.virsh, source, guest, name, signal),
  ]);
  const really = recordOf(asDefined(generations, clone.active));
  const { records, record: read } =
    really === name ? said : await readRecords(reader.virsh, source, guest, really, signal);
  const record =
    read === undefined || from.state === 'stopped'
      ? undefined
      : covering(
          read,
          from.disks.map((disk) => disk.target),
        );
  const inside =
    clone.state === 'stopped' && !isUntouched(request, clone)
      ? await reader.insides.ofFiles(Object.entries(clone.active))
      : undefined;
  // What can't be carried over is given again, by what the source's disks can take.
  const theirs =
    inside && request.identity && whyNotCarried(inside) !== undefined
      ? from.state === 'stopped'
        ? await reader.insides.ofStopped(from.disks)
        : await reader.insides.ofRunning(source, from.disks, from.agentAnswers, signal)
      : undefined;
  return {
    clone: { ...clone, ...(inside ? { inside } : {}) },
    source: { ...from, ...(theirs ? { inside: theirs } : {}) },
    records,
    ...(record ? { record } : {}),
  };
}

/** The clone as it is: what the files say counts, the row only names where to look. Throws `busy` when its memory is saved on disk. */
export async function inspectClone(
  reader: Reader,
  guest: GuestRef,
  generations: Generations | undefined,
  signal: AbortSignal,
): Promise<CloneFacts> {
  const { virsh, shell } = reader;
  const look = await lookAtDomain(virsh, guest, signal);
  if (!look)
    throw new OffshootError('not-found', {
      publicMessage: `The host knows no guest ${guest.name} any more.`,
      remedy: 'Reload the list of guests: it was removed by another hand.',
    });
  refuseIfSaved(guest, look);
  const { state, definition, snapshots } = look;
  const disks = copiedDisks(readDomain(definition), guest.name);
  const files = await Promise.all(
    disks.map(({ target, path, format }) =>
      readChain(shell, { path, format, label: `disk ${target} of ${guest.name}` }, signal),
    ),
  );
  const chains = new Map(disks.map(({ path }, index) => [path, files[index] ?? []]));
  const active = Object.fromEntries(
    disks.map(({ target, path, format }, index) => [
      target,
      {
        path,
        format,
        virtualBytes: files[index]?.[0]?.virtualBytes ?? 0,
        ...(files[index]?.[0] ? { modifiedMs: files[index][0].modifiedMs } : {}),
      },
    ]),
  );
  const present = asDefined(generations, active);
  const [known, own] = await Promise.all([
    Promise.all(
      (generations?.list ?? []).map((generation) =>
        chainsOf(reader, generation, chains, generation.number === present?.current, signal),
      ),
    ),
    present === undefined ? undefined : written(reader, Object.values(active), present, signal),
  ]);
  return {
    state,
    definition,
    active,
    snapshots,
    generations: known.flatMap((generation) => (generation && 'chains' in generation ? [generation] : [])),
    unreadable: known.flatMap((generation) => (generation && 'why' in generation ? [generation] : [])),
    ...own,
  };
}

type Unreadable = NonNullable<CloneFacts['unreadable']>[number];

/**
 * Undefined when it can't be put back to any more: one of its own files is gone. `read`: by the active file, already. One that can't
 * be read holds nothing up, unless it is the present one.
 */
async function chainsOf(
  reader: Reader,
  generation: Generations['list'][number],
  read: ReadonlyMap<string, ChainFile[]>,
  present: boolean,
  signal: AbortSignal,
): Promise<CloneFacts['generations'][number] | Unreadable | undefined> {
  try {
    return await readableChains(reader, generation, read, signal);
  } catch (thrown) {
    const damaged =
      thrown instanceof OffshootError &&
      ['source-unreadable', 'broken-chain', 'source-encrypted'].includes(thrown.code);
    if (present || !damaged) throw thrown;
    return { number: generation.number, why: thrown.publicMessage };
  }
}

async function readableChains(
  { shell }: Reader,
  generation: Generations['list'][number],
  read: ReadonlyMap<string, ChainFile[]>,
  signal: AbortSignal,
): Promise<CloneFacts['generations'][number] | undefined> {
  const there = await Promise.all(
    generation.disks.map(async ({ own }) => read.has(own) || (await shell.stat(own)) !== undefined),
  );
  if (there.includes(false)) return undefined;
  const files = await Promise.all(
    generation.disks.map(
      async ({ target, own }) =>
        read.get(own) ??
        readChain(
          shell,
          { path: own, format: 'qcow2', label: `disk ${target} of state ${generation.number}` },
          signal,
        ),
    ),
  );
  const chains = Object.fromEntries(
    generation.disks.map(({ target }, index) => [
      target,
      (files[index] ?? []).map(({ path, format }) => ({ path, format })),
    ]),
  );
  return { number: generation.number, chains };
}

async function written(
  { shell }: Reader,
  files: readonly { path: string }[],
  generations: Generations,
  signal: AbortSignal,
): Promise<Required<Pick<CloneFacts, 'ownBytes' | 'editedBytes'>>> {
  const edited = generations.list.find((each) => each.number === generations.current)?.edited ?? {};
  const found = await Promise.all(
    files.map(async ({ path }) => {
      const [bytes, stat] = await Promise.all([storedIn(shell, path, signal), shell.stat(path)]);
      return { bytes, onlyEdited: stat !== undefined && stat.modifiedMs === edited[path] };
    }),
  );
  const sum = (of: typeof found): number => of.reduce((total, { bytes }) => total + bytes, 0);
  return { ownBytes: sum(found), editedBytes: sum(found.filter(({ onlyEdited }) => onlyEdited)) };
}
