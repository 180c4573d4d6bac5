/** Plans that bring a clone up to date, and that put it back. Pure. */
import type { Generations } from '../../contract.ts';
import type { IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { readDomain } from './domain-read.ts';
import { redirectDisks } from './domain-xml.ts';
import {
  activeOf,
  chainOf,
  flat,
  folderOf,
  isUntouched,
  layerPaths,
  whyNoRecord,
  wroteItself,
} from './generations.ts';
import {
  basisOf,
  consistencyNotes,
  consistencyOf,
  estimate,
  file,
  gib,
  info,
  needSource,
  needSpace,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import { awaitingIn } from './hold.ts';
import { laterNotes, planInner, type Inner } from './plan-again.ts';
import { planCarry } from './plan-carry.ts';
import { recordName } from './records.ts';
import {
  changedByOther,
  refuseClone,
  refuseDisks,
  refuseOwnChanges,
  unreadableNotes,
} from './refresh-refusals.ts';
import { settleAll } from './refresh-settle.ts';
import { bytesOf, depthNotes, ownNotes, wayNotes, wayOf, type Bytes, type Way } from './refresh-way.ts';
import type { CloneFacts, LibvirtFacts, SourceFacts } from './types.ts';

type Refresh = Extract<OperationRequest, { kind: 'refresh' }>;
type Restore = Extract<OperationRequest, { kind: 'restore' }>;

export function planRefresh(request: Refresh, facts: LibvirtFacts, ids: IdSource): Draft {
  const { guest, options } = request;
  const source = needSource(facts);
  const clone = needClone(facts);
  const before = request.generations ?? flat(clone);
  refuseClone(guest.name, 'refreshed', clone, request.generations);
  refuseDisks(request, source, clone);
  refuseOwnChanges(request, clone);
  const way = wayOf(request, facts, source, clone);
  const bytes = bytesOf(way, source, facts, before);
  if (bytes.atMost !== true) needSpace(facts, bytes.store, false);

  const number = before.next;
  const layers = source.disks.map((disk) => {
    const now = activeOf(clone, disk.target);
    const below = request.generations
      ? chainOf(clone, before.current, disk.target)[1]
      : { path: now.path, format: now.format };
    if (!below) throw changedByOther(guest.name, disk.target, now.path);
    const paths = layerPaths(folderOf(now.path), disk.target, number);
    return { target: disk.target, below, ...paths, virtualBytes: disk.virtualBytes };
  });
  const noRecord = whyNoRecord(source);
  const record = noRecord === undefined ? recordName(guest, number) : undefined;
  const after: Generations = {
    current: number,
    next: number + 1,
    list: [
      ...before.list
        .filter((each) => !request.generations || clone.generations.some((it) => it.number === each.number))
        .map((each) =>
          each.number === before.current && options.ownChanges === 'keep' ? { ...each, kept: true } : each,
        ),
      {
        number,
        at: '',
        ...(record === undefined ? { noRecord: noRecord ?? '' } : { record }),
        kept: false,
        disks: layers.map(({ target, layer, own }, index) => ({
          target,
          layer,
          own,
          sourcePath: source.disks[index]?.path ?? '',
        })),
      },
    ],
  };
  const settled = settleAll(request, clone, after);
  const stale = (facts.records ?? []).filter(
    (name) => name !== record && !settled.generations.list.some((each) => each.record === name),
  );
  const redirected = redirectDisks(
    clone.definition,
    Object.fromEntries(layers.map(({ target, own }) => [target, { path: own, format: 'qcow2' }])),
  );
  const carry = isUntouched(request, clone)
    ? {
        steps: [],
        notes: [info('It has written nothing itself, so there is nothing of its own inside to keep.')],
      }
    : planCarry(
        guest,
        clone.inside,
        clone.active,
        layers.map(({ target, own }) => ({ target, path: own, format: 'qcow2' })),
        {
          clean: request.clean ?? [],
          ...(request.identity ? { identity: request.identity } : {}),
          started: awaitingIn(clone.definition) === undefined,
        },
      );
  const inner = planInner(
    carry,
    request,
    source,
    {
      mode: 'full',
      definition: clone.definition,
      folder: folderOf(layers[0]?.own ?? ''),
      files: Object.fromEntries(layers.map(({ target, own }) => [target, { path: own, format: 'qcow2' }])),
    },
    ids,
  );
  const steps = stepsOf({
    request,
    facts,
    source,
    clone,
    layers,
    way,
    record,
    before,
    xml: inner.hold(redirected),
    bytes,
    ids,
    inner,
  });
  if (settled.actions.length > 0 || stale.length > 0)
    steps.push({
      kind: 'settle',
      title: 'Tidy up older states',
      // The clone has its new disks, and what it had before may be among what goes: from here on only forward.
      ...(settled.actions.length > 0 ? { irreversible: true as const } : {}),
      actions: settled.actions,
      source: request.source,
      records: stale,
    });
  return {
    summary: `Refresh ${guest.name} from ${request.source.name}`,
    strategy: way.way === 'record' ? 'changed blocks' : 'comparison',
    consistency: consistencyOf(source),
    estimates: estimate(
      facts,
      { read: bytes.read, move: bytes.move, store: bytes.store },
      { steps: steps.length, hashes: way.way === 'record' ? 0 : bytes.read },
    ),
    notes: [
      ...consistencyNotes(source),
      ...wayNotes(way, bytes, before, facts),
      ...ownNotes(request, clone, settled.generations),
      ...unreadableNotes(guest.name, clone, 'dropped'),
      ...depthNotes(guest.name, settled.depth, facts, source),
      info('Its name, UUID, MACs and firmware settings stay.'),
      ...inner.notes,
      ...laterNotes(inner),
      ...(noRecord === undefined ? [] : [info(`The next refresh will compare again, because ${noRecord}.`)]),
    ],
    steps,
    creates: [
      ...layers.flatMap(({ layer, own }) => [file(layer), file(own)]),
      ...(request.generations ? [] : before.list.flatMap(({ disks }) => disks.map(({ own }) => file(own)))),
      ...inner.creates,
    ],
    generations: settled.generations,
    removes: settled.removes,
    ...(settled.depth > facts.chainBudget ? { follow: 'promote' as const } : {}),
    basis: [
      basisOf(source),
      way.way,
      before.current,
      Object.entries(clone.active).map(([target, disk]) => [target, disk.path]),
      options,
      wroteItself(clone) > 0,
      clone.unreadable?.map(({ number }) => number) ?? [],
      inner.prepare.length,
      ...(inner.outcome ? [inner.outcome.way, inner.outcome.policy] : []),
    ],
  };
}

export function planRestore(request: Restore, facts: LibvirtFacts): Draft {
  const { guest, generations, to } = request;
  const clone = needClone(facts);
  refuseClone(guest.name, 'put back', clone, generations);
  const wanted = generations.list.find((each) => each.number === to);
  const odd = clone.unreadable?.find((each) => each.number === to);
  if (odd)
    throw new OffshootError('source-unreadable', {
      publicMessage: `State ${to} of ${guest.name} can’t be put back to: ${odd.why}`,
      remedy: 'Choose another one.',
      field: 'to',
    });
  if (!wanted || !clone.generations.some((each) => each.number === to))
    throw new OffshootError('not-found', {
      publicMessage: `That state of ${guest.name} is not there any more.`,
      remedy: 'Choose another one.',
      field: 'to',
    });
  if (to === generations.current)
    throw new OffshootError('invalid-input', {
      publicMessage: `That is the state ${guest.name} has now.`,
      remedy: 'Choose another one.',
      field: 'to',
    });
  const disks = wanted.disks.map(({ target, own }) => [target, { path: own, format: 'qcow2' }] as const);
  const own = wroteItself(clone);
  return {
    summary: `Put ${guest.name} back to state ${to}`,
    estimates: estimate(facts, { read: 0, move: 0, store: 0 }, { steps: 1 }),
    notes: [
      info(
        own > 0
          ? `What it has now, with ${gib(own)} of its own, stays as state ${generations.current} and can be put back again until a later refresh removes it.`
          : `What it has now stays as state ${generations.current} and can be put back again until a later refresh removes it.`,
      ),
      ...unreadableNotes(guest.name, clone, 'stays'),
    ],
    steps: [
      {
        kind: 'redefine',
        title: `Give ${guest.name} the disks of state ${to}`,
        guest,
        xml: redirectDisks(clone.definition, Object.fromEntries(disks)),
        before: clone.definition,
        scratch: `${facts.store}/.define-${guest.uuid}.xml`,
      },
    ],
    creates: [],
    generations: { ...generations, current: to },
    basis: [
      generations.current,
      to,
      Object.entries(clone.active).map(([target, disk]) => [target, disk.path]),
    ],
  };
}

function needClone(facts: LibvirtFacts): CloneFacts {
  if (facts.clone) return facts.clone;
  throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
}

interface Parts {
  request: Refresh;
  facts: LibvirtFacts;
  source: SourceFacts;
  clone: CloneFacts;
  layers: {
    target: string;
    below: { path: string; format: string };
    layer: string;
    own: string;
    virtualBytes: number;
  }[];
  way: Way;
  record: string | undefined;
  before: Generations;
  xml: string;
  bytes: Bytes;
  ids: IdSource;
  inner: Inner;
}

function stepsOf(parts: Parts): DraftStep[] {
  const { request, facts, source, clone, layers, way, record, before, xml, bytes, ids, inner } = parts;
  const { guest } = request;
  const stopped = way.way === 'compare-stopped';
  const since = before.list.find((each) => each.number === before.current)?.record;
  const expects = source.disks.map((disk) =>
    disk.chain.map(({ path, modifiedMs, size }) => ({ path, modifiedMs, size })),
  );
  const copied = new Set(layers.map(({ target }) => target));
  const steps: DraftStep[] = [
    {
      kind: 'fill-layers',
      title: way.way === 'record' ? 'Move what changed' : 'Find and move what differs',
      guest,
      source: request.source,
      way: way.way,
      layers: layers.map(({ target, below, layer, virtualBytes }) => ({
        target,
        onto: below.path,
        ontoFormat: below.format,
        to: layer,
        virtualBytes,
      })),
      from: stopped
        ? source.disks.map((disk, index) => ({
            path: disk.path,
            format: disk.format,
            expects: expects[index] ?? [],
          }))
        : [],
      excluded: stopped
        ? []
        : readDomain(source.definition)
            .disks.map((disk) => disk.target)
            .filter((target) => !copied.has(target)),
      freeze: source.state === 'running' && source.agentAnswers,
      scratch: `${facts.store}/.refresh-${guest.uuid}.xml`,
      pull: `${facts.store}/.pull-${ids.uuid()}`,
      ...(way.way === 'record' && since !== undefined ? { since } : {}),
      ...(record !== undefined && !stopped ? { record } : {}),
      bytes: way.way === 'record' ? bytes.move : bytes.read,
    },
  ];
  if (record !== undefined && stopped)
    steps.push({
      kind: 'begin-record',
      title: 'Note the point at the source',
      source: request.source,
      record,
      disks: source.disks.map((disk, index) => ({
        target: disk.target,
        path: disk.path,
        expects: expects[index] ?? [],
      })),
      scratch: `${facts.store}/.record-${guest.uuid}.xml`,
    });
  steps.push({
    kind: 'own-layers',
    title: 'Create the files for its own writes',
    disks: [
      ...layers.map(({ target, layer, own, virtualBytes }) => ({
        target,
        onto: layer,
        ontoFormat: 'qcow2',
        to: own,
        virtualBytes,
      })),
      ...(request.generations
        ? []
        : layers.map(({ target, below }) => ({
            target,
            onto: below.path,
            ontoFormat: below.format,
            to: layerPaths(folderOf(below.path), target, 0).own,
            virtualBytes: activeOf(clone, target).virtualBytes,
          }))),
    ],
  });
  steps.push(...inner.prepare, {
    kind: 'redefine',
    standsOnEarlier: true,
    title: `Give ${guest.name} the new disks`,
    guest,
    xml,
    before: clone.definition,
    scratch: `${facts.store}/.define-${guest.uuid}.xml`,
    ...(inner.outcome ? { identity: inner.outcome } : {}),
    expects: Object.values(clone.active).flatMap(({ path, modifiedMs }) =>
      modifiedMs === undefined ? [] : [{ path, modifiedMs }],
    ),
  });
  return steps;
}
