/** What a clone request would do here: the driver's own plans, summed. Reads only. */
import {
  cloneModes,
  type CloneMode,
  type ClonePreview,
  type CloneRequest,
  type Estimates,
  type GuestPreview,
  type GuestQuestion,
  type ModeChoice,
  type PlanView,
} from '@offshoot/clone-core/contract';
import type { DriverSource, Facts, OperationRequest, Plan } from '@offshoot/clone-core/driver';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { AnyDriver } from '@offshoot/clone-core/drivers';
import { withCleaning } from '@offshoot/db/catalog';
import type { Db } from '@offshoot/db/client';
import { requestOf, resolveRequest, resolveSource, transferFor, viewOf } from '@offshoot/db/operations';
import { needsBase } from '@offshoot/db/types';
import { randomIds } from './ids.ts';

/** Plans a change to a guest, or an export. Throws as `Driver.inspect` and `Driver.plan` do. */
export async function previewGuest(
  db: Db,
  driver: AnyDriver,
  hostId: string,
  question: GuestQuestion,
  signal: AbortSignal,
): Promise<GuestPreview> {
  const guestId = 'guestId' in question ? question.guestId : null;
  const request = await resolveRequest(db, { request: requestOf(question), guestId, title: '', hostId });
  const plan = driver.plan(request, await driver.inspect(request, signal), randomIds);
  return { plan: viewOf(plan), simulated: driver.info.simulated };
}

type CloneOperation = Extract<OperationRequest, { kind: 'clone' }>;

/**
 * Plans the request's first guest (the others differ only in names, UUIDs and MACs) and, for clones of a guest that stand
 * on a base, the capture that goes before. @throws OffshootError as `Driver.inspect` and `Driver.plan` do.
 */
export async function previewClone(
  db: Db,
  driver: AnyDriver,
  hostId: string,
  wanted: CloneRequest,
  signal: AbortSignal,
): Promise<ClonePreview> {
  const request = await withCleaning(db.pool, wanted);
  const source = await resolveSource(db, request.source, hostId);
  refuseElsewhere(source, request, hostId);
  const [name] = request.names;
  if (name === undefined)
    throw new OffshootError('invalid-input', { publicMessage: 'Give it a name.', field: 'names' });
  const asked = (mode: CloneMode): CloneOperation => ({
    kind: 'clone',
    source,
    mode,
    name,
    options: request.options,
    index: 0,
  });
  const facts = await driver.inspect(asked(request.mode), signal);
  refuseTakenNames(request.names, facts);
  const plans = new Map<CloneMode, Plan | OffshootError>();
  for (const mode of cloneModes) plans.set(mode, tryPlan(driver, asked(mode), facts));
  const chosen = plans.get(request.mode);
  if (chosen === undefined || chosen instanceof OffshootError) {
    throw (
      chosen ??
      new OffshootError('unavailable-mode', {
        publicMessage: `There is no mode ${request.mode}.`,
        field: 'mode',
      })
    );
  }
  const each = viewOf(chosen);
  const capture = await capturePlan(driver, source, request.mode, signal);
  const transfer = await transferPlan(db, driver, hostId, request, source, signal);
  const first = capture ?? transfer;
  const count = request.names.length;
  const sum = total(each, count, first);
  refuseTooMuch(sum.storeBytes, count, facts);
  return {
    modes: cloneModes.map((mode) => modeChoice(mode, plans.get(mode), source)),
    ...(capture === undefined ? {} : { capture }),
    ...(transfer === undefined ? {} : { transfer }),
    each,
    count,
    total: sum,
    ...(facts.inside ? { inside: { kind: facts.inside.kind, found: facts.inside.found } } : {}),
    fingerprint: first?.fingerprint ?? each.fingerprint,
    simulated: driver.info.simulated,
  };
}

function refuseTakenNames(names: readonly string[], facts: Facts): void {
  const taken = new Set(facts.takenNames);
  const index = names.findIndex((name) => taken.has(name));
  if (index === -1) return;
  throw new OffshootError('name-taken', {
    publicMessage: `There is a guest named ${names[index]} on this host already.`,
    remedy: 'Choose another name.',
    field: `names.${index}`,
  });
}

/** Each plan looks at its own space only; together they may not fit. */
function refuseTooMuch(storeBytes: number, count: number, facts: Facts): void {
  const { freeBytes } = facts.host.store;
  if (storeBytes <= freeBytes) return;
  const gib = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
  throw new OffshootError('no-space', {
    publicMessage: `${count === 1 ? 'The clone' : `The ${count} clones`} would store ${gib(storeBytes)}, but only ${gib(freeBytes)} are free on the host.`,
    remedy: 'Make fewer, make linked clones, or free space on the host’s store.',
    field: 'names',
  });
}

function tryPlan(driver: AnyDriver, request: CloneOperation, facts: Facts): Plan | OffshootError {
  try {
    return driver.plan(request, facts, randomIds);
  } catch (error) {
    if (error instanceof OffshootError) return error;
    throw error;
  }
}

async function capturePlan(
  driver: AnyDriver,
  source: DriverSource,
  mode: CloneMode,
  signal: AbortSignal,
): Promise<PlanView | undefined> {
  if (source.type !== 'guest' || !needsBase(mode)) return undefined;
  const request: OperationRequest = {
    kind: 'capture',
    guest: source.guest,
    label: source.guest.name,
    ...(mode === 'memory' ? { memory: true } : {}),
  };
  return viewOf(driver.plan(request, await driver.inspect(request, signal), randomIds));
}

/** What brings the base here before the clones; undefined: nothing has to, or someone else is at it already. */
async function transferPlan(
  db: Db,
  driver: AnyDriver,
  hostId: string,
  request: CloneRequest,
  source: DriverSource,
  signal: AbortSignal,
): Promise<PlanView | undefined> {
  if (request.source.type !== 'template' || source.type !== 'base' || source.absent !== true)
    return undefined;
  const asked = await transferFor(db, request.source.versionId, hostId);
  return asked && viewOf(driver.plan(asked, await driver.inspect(asked, signal), randomIds));
}

function refuseElsewhere(source: DriverSource, request: CloneRequest, hostId: string): void {
  if (source.type === 'base' || request.hostId === undefined || request.hostId === hostId) return;
  throw new OffshootError('unavailable-mode', {
    publicMessage: `“${source.guest.name}” is on another host, and a guest can be cloned on its own host only.`,
    remedy: 'Make a template of it: that can be cloned on any host.',
    field: 'hostId',
  });
}

const explanations: Readonly<Record<CloneMode, Readonly<Record<DriverSource['type'], string>>>> = {
  full: {
    guest: 'An independent copy that shares nothing with its source.',
    base: 'An independent copy that shares nothing with its source.',
  },
  linked: {
    guest:
      'The source’s disks are captured once into an immutable base; each clone then shares its unchanged blocks.',
    base: 'Shares unchanged blocks with the template; takes space only for what it changes.',
  },
  memory: {
    guest:
      'Goes on where the source is now, without a boot: what runs in it runs in the clone. The source stands still for a moment.',
    base: 'Goes on where the template was saved, without a boot: what ran in it runs in the clone.',
  },
};

function modeChoice(
  mode: CloneMode,
  plan: Plan | OffshootError | undefined,
  source: DriverSource,
): ModeChoice {
  if (plan === undefined || plan instanceof OffshootError) {
    const why =
      plan === undefined ? 'Not offered here.' : [plan.publicMessage, plan.remedy].filter(Boolean).join(' ');
    return { mode, available: false, explanation: why };
  }
  return { mode, available: true, explanation: explanations[mode][source.type] };
}

function total(each: PlanView, count: number, first: PlanView | undefined): Estimates {
  const times = (pick: (estimates: Estimates) => number): number =>
    pick(each.estimates) * count + (first === undefined ? 0 : pick(first.estimates));
  return {
    readBytes: times((estimates) => estimates.readBytes),
    moveBytes: times((estimates) => estimates.moveBytes),
    storeBytes: times((estimates) => estimates.storeBytes),
    seconds: times((estimates) => estimates.seconds),
  };
}
