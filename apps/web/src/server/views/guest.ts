/** Guests as a browser sees them. */
import type {
  GuestSnapshot,
  CloneMode,
  Generation,
  Generations,
  GuestState,
  OperationKind,
  OperationState,
  Verification,
} from '@offshoot/clone-core/contract';
import type { AttestedIdentity, IdentityOutcome } from '@offshoot/clone-core/contract/identity';
import type { Db } from '@offshoot/db/client';
import type { RecordedDefinition } from '@offshoot/db/inventory';
import { outsideChanges, type OutsideChange } from './changes.ts';
import { isEnded, operationStates } from '@offshoot/clone-core/contract';

const notEnded: string[] = operationStates.filter((state) => !isEnded(state));

export const guestInclude = {
  host: { select: { id: true, name: true, simulated: true } },
  owner: { select: { id: true, name: true } },
  sourceGuest: { select: { id: true, name: true, state: true } },
  templateVersion: {
    select: { id: true, number: true, template: { select: { id: true, name: true, osName: true } } },
  },
  operations: {
    where: { state: { in: notEnded } },
    select: { id: true, kind: true, state: true },
    orderBy: { id: 'desc' },
    take: 1,
  },
  base: { select: { allocatedBytes: true, _count: { select: { children: true, versions: true } } } },
  _count: { select: { clones: true } },
} as const;

const readOne = (db: Db, id: string) => db.prisma.guest.findUnique({ where: { id }, include: guestInclude });
type Row = NonNullable<Awaited<ReturnType<typeof readOne>>>;

export interface GuestDisk {
  target: string;
  path: string;
  format: string;
  virtualBytes: number;
  usedBytes: number;
}

/** What a guest was cloned from: a link while it is there, its name for ever. */
export type GuestSource =
  | { type: 'guest'; id: string; label: string }
  | { type: 'template'; id: string; label: string }
  | { type: 'gone'; label: string };

export interface GuestStates {
  current: number;
  list: (Pick<Generation, 'number' | 'at' | 'consistency' | 'movedBytes' | 'kept'> & { recorded: boolean })[];
}

export interface GuestView {
  id: string;
  name: string;
  uuid: string | null;
  state: GuestState;
  /** Made by Offshoot, or adopted. */
  managed: boolean;
  adopted: boolean;
  /** Its disks go with it when it is deleted. */
  ownsDisks: boolean;
  /** What others changed of its definition since Offshoot took note of it. */
  changes: OutsideChange[];
  /** Its agent was to prove that it is itself, and did not. `networkOff`: until it does. */
  unproven: { networkOff: boolean } | null;
  /** What its first-boot script ended with; null: there is none, or it has not ended, or nobody told. */
  firstBootCode: number | null;
  mode: CloneMode | null;
  host: { id: string; name: string; simulated: boolean };
  owner: { id: string; name: string } | null;
  source: GuestSource | null;
  /** Known to be Windows inside: its agent said so, or it was made as one. */
  windows: boolean;
  vcpus: number | null;
  memoryBytes: number | null;
  virtualBytes: number | null;
  usedBytes: number | null;
  macs: string[];
  address: string | null;
  disks: GuestDisk[];
  clones: number;
  /** Its disks are overlays on this base. */
  baseId: string | null;
  /** What it can be compared with; `running`: not before that is stopped. Null: nothing (any more). */
  counterpart: { label: string; running: boolean } | null;
  /** The last comparison with what it was cloned from. */
  verified: Verification | null;
  /** Newest first. */
  snapshots: GuestSnapshot[];
  /** What its disks are overlays on. `hidden`: no template shows it, so it goes with its last guest. */
  base: { bytes: number; guests: number; hidden: boolean } | null;
  /** Of a clone that was refreshed or made for it: the states it can be put back to, newest first. */
  states: GuestStates | null;
  /** The operation that works on it right now, if one does. */
  busy: { id: string; kind: OperationKind; state: OperationState } | null;
  createdAt: string;
  seenAt: string | null;
}

const bytes = (value: bigint | null): number | null => (value === null ? null : Number(value));

/** Row → view. */
export function guestView(row: Row): GuestView {
  const busy = row.operations[0];
  return {
    id: row.id,
    name: row.name,
    uuid: row.uuid,
    state: row.state as GuestState,
    managed: row.managed,
    adopted: row.adoptedAt !== null,
    ownsDisks: row.ownedFiles.length > 0,
    changes: row.managed ? changesOf(row) : [],
    unproven: unprovenOf(row.identity as unknown as IdentityOutcome | null),
    firstBootCode: firstBootCodeOf(row),
    mode: row.mode as CloneMode | null,
    host: row.host,
    owner: row.owner,
    source: sourceOf(row),
    windows: isWindows(row),
    vcpus: row.vcpus,
    memoryBytes: bytes(row.memoryBytes),
    virtualBytes: bytes(row.virtualBytes),
    usedBytes: bytes(row.usedBytes),
    macs: row.macs,
    address: row.address,
    disks: (row.disks as unknown as GuestDisk[] | null) ?? [],
    clones: row._count.clones,
    baseId: row.baseId,
    counterpart: counterpartOf(row),
    states: statesOf(row.generations as unknown as Generations | null),
    verified: row.verified as unknown as Verification | null,
    snapshots: ((row.snapshots as unknown as GuestSnapshot[] | null) ?? []).toSorted((a, b) =>
      a.takenAt < b.takenAt ? 1 : -1,
    ),
    base: row.base
      ? {
          bytes: Number(row.base.allocatedBytes),
          guests: row.base._count.children,
          hidden: row.base._count.versions === 0,
        }
      : null,
    busy: busy
      ? { id: busy.id, kind: busy.kind as OperationKind, state: busy.state as OperationState }
      : null,
    createdAt: row.createdAt.toISOString(),
    seenAt: row.seenAt?.toISOString() ?? null,
  };
}

/** Known to be Windows inside: by its agent, by how it was made, or by its template. */
export function isWindows({
  attested,
  identity,
  templateVersion,
}: {
  attested: unknown;
  identity: unknown;
  templateVersion: { template: { osName: string } } | null;
}): boolean {
  const said = attested as AttestedIdentity | null;
  const made = identity as IdentityOutcome | null;
  if (said) return said.sid !== undefined || /windows/i.test(said.osName ?? '');
  return made?.decided.computerName !== undefined || /windows/i.test(templateVersion?.template.osName ?? '');
}

function unprovenOf(outcome: IdentityOutcome | null): GuestView['unproven'] {
  if (outcome?.verdict !== 'mismatch' && outcome?.verdict !== 'silent') return null;
  return { networkOff: outcome.policy === 'strict' && outcome.linkUpAt === undefined };
}

function firstBootCodeOf({ identity, attested }: Pick<Row, 'identity' | 'attested'>): number | null {
  const made = identity as unknown as IdentityOutcome | null;
  const said = (attested as unknown as AttestedIdentity | null)?.firstBoot;
  return made?.changed.includes('first-boot-script') && typeof said === 'number' ? said : null;
}

function changesOf(row: Row): OutsideChange[] {
  return outsideChanges(row.recorded as unknown as RecordedDefinition | null, {
    name: row.name,
    vcpus: row.vcpus,
    memoryBytes: bytes(row.memoryBytes),
    macs: row.macs,
    disks: (row.disks as unknown as GuestDisk[] | null) ?? [],
  });
}

function counterpartOf(row: Row): GuestView['counterpart'] {
  if (row.baseId !== null)
    return {
      label:
        row.templateVersion === null
          ? `the base captured from ${row.sourceName ?? 'its source'}`
          : (row.sourceName ?? 'its template version'),
      running: false,
    };
  const { sourceGuest, templateVersion } = row;
  if (sourceGuest) return { label: sourceGuest.name, running: sourceGuest.state !== 'stopped' };
  if (templateVersion)
    return { label: `${templateVersion.template.name} v${templateVersion.number}`, running: false };
  return null;
}

function sourceOf(row: Row): GuestSource | null {
  if (row.sourceGuest) return { type: 'guest', id: row.sourceGuest.id, label: row.sourceGuest.name };
  const version = row.templateVersion;
  if (version)
    return {
      type: 'template',
      id: version.template.id,
      label: `${version.template.name} v${version.number}`,
    };
  return row.sourceName === null ? null : { type: 'gone', label: row.sourceName };
}

function statesOf(generations: Generations | null): GuestStates | null {
  if (!generations) return null;
  const list = generations.list.map(
    ({ disks: _disks, edited: _edited, record, noRecord: _why, ...shown }) => ({
      ...shown,
      recorded: record !== undefined,
    }),
  );
  return { current: generations.current, list: list.toReversed() };
}
