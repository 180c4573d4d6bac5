/** Clone plans of the simulated driver. */
import { z } from 'zod';
import type { IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { SimulatedFacts } from './facts.ts';
import { planIdentity } from './identity.ts';
import type { Speed } from './own-files.ts';
import { OVERLAY_BYTES, type SimulatedGuest } from './host.ts';
import {
  aroundPoint,
  basisOf,
  consistencyOf,
  copySteps,
  createdFiles,
  estimate,
  needSpace,
  refuseUnavailable,
  sumOf,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';

type CloneRequest = Extract<OperationRequest, { kind: 'clone' }>;

const definitionSchema = z.object({
  vcpus: z.number(),
  memoryBytes: z.number(),
  osName: z.string(),
  firmware: z.enum(['bios', 'uefi']),
  hasAgent: z.boolean(),
  nics: z.array(z.string()),
});

/** The source as far as the clone takes after it; of a base, from the definition it keeps. */
function likeness(request: CloneRequest, facts: SimulatedFacts): SimulatedGuest {
  if (facts.guest) return facts.guest;
  if (request.source.type === 'guest')
    throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
  let parsed: unknown;
  try {
    parsed = JSON.parse(request.source.base.definition);
  } catch (cause) {
    throw unreadable(request.source.label, cause);
  }
  const definition = definitionSchema.safeParse(parsed);
  if (!definition.success) throw unreadable(request.source.label, definition.error);
  return {
    ...definition.data,
    uuid: request.source.base.digest,
    name: request.source.label,
    state: 'stopped',
    nics: definition.data.nics.map((network) => ({ mac: '', network })),
    disks: request.source.base.disks.map(({ target, path }) => ({ target, path })),
  };
}

const unreadable = (label: string, cause: unknown): OffshootError =>
  new OffshootError('source-unreadable', {
    publicMessage: `The definition kept with ${label} is not one of a simulated guest.`,
    remedy: 'Clone from a template of this host.',
    field: 'source',
    cause,
  });

/** The new guest: as the source, with its own identity and what the request changes. */
function newGuest(
  request: CloneRequest,
  source: SimulatedGuest,
  facts: SimulatedFacts,
  ids: IdSource,
  owner: string,
): SimulatedGuest {
  const { options } = request;
  const taken = new Set(facts.takenMacs);
  const nics = source.nics.map((nic) => {
    const mac = ids.mac(taken);
    taken.add(mac);
    return { mac, network: options.network ?? nic.network };
  });
  return {
    uuid: ids.uuid(),
    name: request.name,
    state: 'stopped',
    vcpus: options.vcpus ?? source.vcpus,
    memoryBytes: options.memoryMiB === undefined ? source.memoryBytes : options.memoryMiB * 1024 ** 2,
    osName: source.osName,
    firmware: source.firmware,
    nics,
    disks: source.disks.map(({ target }) => ({
      target,
      path: diskPath(facts.store, request.name, owner, target),
    })),
    hasAgent: source.hasAgent,
  };
}

const diskPath = (store: string, name: string, owner: string, target: string): string =>
  `${store}/disks/${name}-${owner.slice(0, 8)}-${target}.qcow2`;

export function planClone(
  request: CloneRequest,
  facts: SimulatedFacts,
  ids: IdSource,
  speed: Speed,
  owner: string,
): Draft {
  const { mode, options, name } = request;
  const fromBase = request.source.type === 'base' ? request.source : undefined;
  const source = likeness(request, facts);
  const disks = facts.disks ?? [];
  refuseUnavailable(mode, fromBase ? 'template' : source.state);
  if (facts.takenNames.includes(name)) {
    throw new OffshootError('name-taken', {
      publicMessage: `There already is a guest named ${name} on this host.`,
      remedy: 'Choose another name.',
      field: 'name',
    });
  }
  if (options.verify)
    throw new OffshootError('unavailable-mode', {
      publicMessage: 'The simulated host does not compare a copy while it makes it.',
      remedy: 'Clone without comparing; compare the clone on its page afterwards.',
      field: 'options.verify',
    });
  const linked = mode === 'linked';
  const storeBytes = linked ? disks.length * OVERLAY_BYTES : sumOf(disks);
  needSpace(facts, storeBytes);
  const guest = newGuest(request, source, facts, ids, owner);
  const to = (target: string): string => diskPath(facts.store, name, owner, target);
  const steps: DraftStep[] = linked
    ? disks.map((disk) => ({
        kind: 'overlay' as const,
        title: `Create disk ${disk.target} on its base`,
        // Of a guest, this is a preview: the base is made by a capture before the clone that runs names it.
        base: fromBase ? disk.path : `${facts.store}/bases/of-${source.name}-${disk.target}.qcow2`,
        to: to(disk.target),
      }))
    : aroundPoint(
        source,
        disks,
        facts.store,
        owner,
        copySteps(source, disks, facts.store, owner, to).map((step) =>
          withoutBaseCheck(step, fromBase !== undefined),
        ),
      );
  const ref = { uuid: guest.uuid, name };
  const identity = planIdentity(guest, request.index, options.identity, ids);
  steps.push({ kind: 'define', title: `Define ${name}`, guest, identity: identity.outcome });
  if (options.start) steps.push({ kind: 'start', title: `Start ${name}`, guest: ref });
  const waits = options.start && options.waitForAgent;
  if (waits)
    steps.push({
      kind: 'wait-agent',
      title: 'Wait for the guest agent',
      guest: ref,
      timeoutSeconds: options.agentTimeoutSeconds,
      identity: identity.outcome,
    });
  return {
    summary: `${linked ? 'Linked' : 'Full'} clone ${name} of ${source.name} (simulated)`,
    strategy: linked ? 'overlay' : 'simulated copy',
    consistency: linked ? 'exact' : consistencyOf(source),
    estimates: estimate(speed, linked ? 0 : storeBytes, storeBytes, steps.length, waits),
    notes: identity.notes,
    steps,
    creates: [...createdFiles(steps), { type: 'guest', name }],
    guest: {
      name,
      uuid: guest.uuid,
      macs: guest.nics.map((nic) => nic.mac),
      memoryBytes: guest.memoryBytes,
      vcpus: guest.vcpus,
      virtualBytes: disks.reduce((sum, disk) => sum + disk.virtualBytes, 0),
    },
    ...(linked && fromBase ? { baseDigest: fromBase.base.digest } : {}),
    basis: [mode, options, fromBase ? fromBase.base.digest : basisOf(source, disks)],
  };
}

/** A base is immutable: there is no guest that could be started under the copy. */
function withoutBaseCheck(step: DraftStep, fromBase: boolean): DraftStep {
  if (!fromBase || step.kind !== 'copy') return step;
  const { stoppedSource: _none, ...copy } = step;
  return copy;
}
