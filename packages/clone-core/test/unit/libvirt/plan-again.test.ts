/** Guests whose disks are replaced and whose identity inside can't be carried over: it is given again, and they wait for it. */
import { expect, it } from 'vitest';
import { refreshOptionsSchema } from '../../../src/contract.ts';
import type { GivenIdentity, OperationRequest } from '../../../src/driver.ts';
import { awaitingIn, held } from '../../../src/drivers/libvirt/hold.ts';
import { plan } from '../../../src/drivers/libvirt/plan.ts';
import type { Awaiting, DomainState, LibvirtStep } from '../../../src/drivers/libvirt/types.ts';
import type { GuestInside } from '../../../src/identity/contract.ts';
import { seededIds } from '../../conformance/workbench.ts';
import { decided, insideOf, optionsOf } from '../identity/facts.ts';
import { disk, factsOf, GIB, golden, richSource } from './facts.ts';

const guest = { uuid: '22222222-2222-4333-8444-555555555555', name: 'clone' };
const folder = '/store/disks/clone';
const drive = `${folder}/first-settings.iso`;
const targets = ['vda', 'sda', 'sdb'];
const macs = ['52:54:00:aa:aa:01', '52:54:00:aa:aa:02', '52:54:00:aa:aa:03'];
const given = (options = {}): GivenIdentity => ({ options: optionsOf(options), index: 0, decided });
const odd = { notEditable: 'its /etc is a filesystem of its own' };
const windows: Partial<GuestInside> = { kind: 'windows', windows: { generalized: true } };

interface Case {
  inside: Partial<GuestInside>;
  identity?: GivenIdentity;
  state?: DomainState;
  definition?: string;
}

function reset({ inside, identity, state = 'running', definition = golden('rich.clone.xml') }: Case) {
  const base = { digest: 'd'.repeat(64), definition: '', disks: [] };
  const request: OperationRequest = {
    kind: 'reset',
    guest,
    label: 'a base',
    base,
    owned: [],
    waitForAgent: true,
    agentTimeoutSeconds: 60,
    ...(identity ? { identity } : {}),
  };
  const source = richSource({ state: 'template', inside: { inside: insideOf(inside), source: {} } });
  const disks = targets.map((target, inode) => ({
    target,
    path: `${folder}/${target}.qcow2`,
    format: 'qcow2',
    inode,
    allocatedBytes: GIB,
  }));
  const own = { state, definition, disks, otherTargets: [], snapshots: [] };
  return plan(request, factsOf(source, { own }), seededIds('r'));
}

type Made = ReturnType<typeof plan>;
const kinds = ({ steps }: Made): string[] => steps.map(({ kind }) => kind);
const said = ({ notes }: Made): string => notes.map(({ text }) => text).join('\n');
function step<K extends LibvirtStep['kind']>({ steps }: Made, kind: K): Extract<LibvirtStep, { kind: K }> {
  const found = steps.find((each): each is Extract<LibvirtStep, { kind: K }> => each.kind === kind);
  if (!found) throw new Error(`no step ${kind}`);
  return found;
}
const noted = (made: Made): Awaiting | undefined => awaitingIn(step(made, 'redefine').xml);

it('by the agent: held back before it starts, made itself, then connected', () => {
  const made = reset({ inside: odd, identity: given({ policy: 'strict' }) });
  expect(kinds(made)).toEqual([
    'stop',
    'create-overlays',
    'swap-files',
    'redefine',
    'start',
    'attest',
    'discard-kept',
  ]);
  expect(step(made, 'start')).not.toHaveProperty('agentSeconds');
  const { xml, before, identity } = step(made, 'redefine');
  expect(before).toBe(golden('rich.clone.xml'));
  expect(xml.match(/<link state=['"]down['"]/g)).toHaveLength(3);
  // The same machine as before, now with the cards that it has.
  expect(identity).toMatchObject({ way: 'agent', verdict: 'unasked', decided: { ...decided, macs } });
  expect(noted(made)).toEqual(step(made, 'attest').awaiting);
  expect(noted(made)).toMatchObject({
    links: macs,
    take: { nics: macs.map((mac, nic) => ({ was: `52:54:00:00:00:0${nic + 1}`, mac })) },
  });
  expect(said(made)).toMatch(
    /can’t be carried over, because its \/etc is a filesystem of its own\. It gets the one it was cloned with again; SSH host keys are made anew/,
  );
  expect(said(made)).toContain('Its network comes up when its agent has proven');
});

it('one that is stopped is held back for its next start', () => {
  const made = reset({ inside: odd, identity: given(), state: 'stopped' });
  expect(kinds(made)).toEqual(['create-overlays', 'swap-files', 'redefine', 'discard-kept']);
  expect(noted(made)).toMatchObject({ links: macs });
  expect(said(made)).toContain('at its next start');
});

it.each<[string, Partial<GuestInside>, 'seed' | 'unattend']>([
  ['cloud-init', { ...odd, seedReader: 'cloud-init' }, 'seed'],
  ['a generalized Windows', windows, 'unattend'],
])('%s: its drive is written again, with what was asked for then', (_what, inside, way) => {
  const made = reset({ inside, identity: given({ domain: 'lab.example.org' }) });
  expect(kinds(made).slice(0, 4)).toEqual(['stop', 'create-overlays', 'write-seed', 'swap-files']);
  expect(step(made, 'write-seed')).toMatchObject({
    to: drive,
    way,
    seed: { decided: { hostname: decided.hostname, instanceId: decided.instanceId } },
  });
  expect(step(made, 'redefine').xml).toContain(drive);
  expect(made.creates).toContainEqual({ type: 'file', name: drive });

  // One that still has its drive keeps it: undone, it must be there.
  const waiting = held(golden('rich.clone.xml'), noted(made) ?? step(made, 'attest').awaiting, {
    path: drive,
    windows: false,
  });
  const again = reset({ inside, identity: given(), definition: waiting });
  expect(kinds(again)).not.toContain('write-seed');
  expect(again.creates).not.toContainEqual({ type: 'file', name: drive });
  expect(step(again, 'redefine').xml.split(drive)).toHaveLength(
    step(made, 'redefine').xml.split(drive).length,
  );
});

it('what can’t be given again is said, and does not hinder', () => {
  const plain = 'Inside, it becomes what the new disks hold';
  for (const part of [
    { inside: odd },
    { inside: { ...odd, agent: false }, identity: given() },
    { inside: { ...windows, windows: { generalized: false } }, identity: given() },
  ]) {
    const made = reset(part);
    expect(said(made)).toContain(plain);
    expect(kinds(made)).not.toContain('redefine');
  }
  const refused = reset({ inside: { ...odd, agent: false }, identity: given({ policy: 'strict' }) });
  expect(said(refused)).toMatch(/It can’t be given its identity again: The network can’t wait/);
  const forgotten = reset({ inside: odd, identity: { ...given(), forgotten: true } });
  expect(said(forgotten)).toContain('is not known any more');
});

it('a refreshed clone is held back in the definition that it gets with its new disks', () => {
  const inside = { inside: insideOf(odd), source: {} };
  const clone = {
    state: 'stopped' as const,
    definition: golden('rich.clone.xml'),
    active: { vda: { path: `${folder}/vda.qcow2`, format: 'qcow2', virtualBytes: 4 * GIB } },
    snapshots: [],
    generations: [],
    inside,
  };
  const source = richSource({
    state: 'running',
    agentAnswers: true,
    disks: [disk('vda', '/images/rich.qcow2', 'qcow2')],
    inside,
  });
  const request: OperationRequest = {
    kind: 'refresh',
    guest,
    source: { uuid: '11111111-2222-4333-8444-555555555555', name: 'rich' },
    owned: [],
    options: { ...refreshOptionsSchema.parse({}), ownChanges: 'discard' },
    identity: given(),
  };
  const made = plan(request, factsOf(source, { clone, records: [] }), seededIds('f'));
  expect(step(made, 'redefine')).toMatchObject({ before: clone.definition, identity: { way: 'agent' } });
  expect(step(made, 'redefine').xml).toContain(`${folder}/vda.g1.own.qcow2`);
  expect(noted(made)).toMatchObject({ links: macs });
  expect(said(made)).toContain('at its next start');
});
