/** Plans of the simulated driver: pure, from request, facts and ids. */
import type { IdSource, OperationRequest, Plan } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { notSimulated, type SimulatedFacts } from './facts.ts';
import { digestOf, type SimulatedGuest } from './host.ts';
import type { Speed } from './own-files.ts';
import { planClone } from './plan-clone.ts';
import { planVerify } from './plan-verify.ts';
import {
  aroundPoint,
  basisOf,
  consistencyOf,
  copySteps,
  createdFiles,
  definitionOf,
  estimate,
  needGuest,
  needSpace,
  refuseUnavailable,
  simulatedNote,
  sumOf,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import { planReset } from './plan-reset.ts';
import type { SimulatedStep } from './step-types.ts';

export type SimulatedPlan = Plan<SimulatedStep>;

/**
 * Pure: the same input gives the same plan. Throws `name-taken`, `no-space`, `unavailable-mode`, `in-use`.
 * The fingerprint does not depend on ids, on the new name, or on free space.
 */
export function planSimulated(
  request: OperationRequest,
  facts: SimulatedFacts,
  ids: IdSource,
  speed: Speed,
): SimulatedPlan {
  const owner = ids.uuid();
  const draft = draftOf(request, facts, ids, speed, owner);
  const { basis, steps, notes = [], creates = [], ...view } = draft;
  return structuredClone({
    version: 1 as const,
    driver: 'simulated' as const,
    kind: request.kind,
    ...view,
    notes: [simulatedNote, ...notes],
    creates,
    steps: steps.map((step, index) => ({ ...step, id: `${index + 1}-${step.kind}`, owner })),
    fingerprint: digestOf(JSON.stringify([request.kind, basis])),
  });
}

function draftOf(
  request: OperationRequest,
  facts: SimulatedFacts,
  ids: IdSource,
  speed: Speed,
  owner: string,
): Draft {
  switch (request.kind) {
    case 'clone':
      return planClone(request, facts, ids, speed, owner);
    case 'capture':
      return planCapture(request, facts, speed, owner);
    case 'import':
      return planImport(request, facts, speed, owner);
    case 'start':
      return planStart(request, needGuest(facts), speed);
    case 'stop': {
      const guest = needGuest(facts);
      const { force, timeoutSeconds } = request;
      const stopped = guest.state === 'stopped';
      return {
        summary: stopped
          ? `${guest.name} is stopped already`
          : `${force ? 'Power off' : 'Shut down'} ${guest.name}`,
        estimates: estimate(speed, 0, 0, stopped ? 0 : 20, false),
        steps: stopped
          ? []
          : [{ kind: 'stop', title: `Stop ${guest.name}`, guest: request.guest, force, timeoutSeconds }],
        basis: [guest.uuid, guest.state, force],
      };
    }
    case 'delete':
      return planDelete(request, facts, speed);
    case 'verify':
      return planVerify(request, facts, speed);
    case 'snapshot':
    case 'revert':
    case 'remove-snapshot':
    case 'promote':
      throw notSimulated(request.kind);
    case 'reset':
      return planReset(request, facts, ids, speed);
    case 'remove-base': {
      const children = facts.children ?? [];
      if (children.length > 0) {
        throw new OffshootError('in-use', {
          publicMessage: `${request.label} is the base of ${children.join(', ')}.`,
          remedy: 'Delete those guests first.',
        });
      }
      const steps = request.base.disks.map((disk) => ({
        kind: 'remove-file' as const,
        irreversible: true as const,
        title: `Delete base disk ${disk.target}`,
        path: disk.path,
      }));
      return {
        summary: `Remove ${request.label}`,
        estimates: estimate(speed, 0, 0, steps.length, false),
        steps,
        basis: [request.base.digest],
      };
    }
    default:
      throw notSimulated(request.kind);
  }
}

function planCapture(
  { label, memory }: Extract<OperationRequest, { kind: 'capture' }>,
  facts: SimulatedFacts,
  speed: Speed,
  owner: string,
): Draft {
  const guest = needGuest(facts);
  const disks = facts.disks ?? [];
  refuseUnavailable(memory === true ? 'memory' : 'linked', guest.state);
  needSpace(facts, sumOf(disks));
  const to = (target: string): string => `${facts.store}/bases/${owner}-${target}.qcow2`;
  const copies = copySteps(guest, disks, facts.store, owner, to);
  const seal: DraftStep = {
    kind: 'seal',
    title: 'Make the base immutable',
    definition: definitionOf(guest),
    disks: disks.map(({ target }) => ({ target, path: to(target) })),
  };
  const steps = [...aroundPoint(guest, disks, facts.store, owner, copies), seal];
  return {
    summary: `Capture ${guest.name} as ${label}`,
    strategy: 'simulated copy',
    consistency: consistencyOf(guest),
    estimates: estimate(speed, sumOf(disks), sumOf(disks), steps.length, false),
    steps,
    creates: createdFiles(steps),
    basis: basisOf(guest, disks),
  };
}

function planImport(
  request: Extract<OperationRequest, { kind: 'import' }>,
  facts: SimulatedFacts,
  speed: Speed,
  owner: string,
): Draft {
  const bytes = facts.image?.allocatedBytes ?? 0;
  needSpace(facts, bytes);
  const to = `${facts.store}/bases/${owner}-vda.qcow2`;
  const { vcpus, memoryMiB, osName, firmware, network = 'default' } = request;
  const definition = JSON.stringify({
    vcpus,
    memoryBytes: memoryMiB * 1024 ** 2,
    osName,
    firmware,
    hasAgent: true,
    nics: [network],
  });
  const steps: DraftStep[] = [
    { kind: 'import-image', title: 'Copy the image', image: request.imagePath, to, bytes },
    { kind: 'seal', title: 'Make the base immutable', definition, disks: [{ target: 'vda', path: to }] },
  ];
  return {
    summary: `Import ${request.imagePath} as ${request.label}`,
    strategy: 'simulated copy',
    consistency: 'exact',
    estimates: estimate(speed, bytes, bytes, 2, false),
    steps,
    creates: createdFiles(steps),
    basis: [facts.image, definition],
  };
}

function planStart(
  request: Extract<OperationRequest, { kind: 'start' }>,
  guest: SimulatedGuest,
  speed: Speed,
): Draft {
  const steps: DraftStep[] =
    guest.state === 'running' ? [] : [{ kind: 'start', title: `Start ${guest.name}`, guest: request.guest }];
  if (request.waitForAgent)
    steps.push({
      kind: 'wait-agent',
      title: 'Wait for the guest agent',
      guest: request.guest,
      timeoutSeconds: request.agentTimeoutSeconds,
    });
  return {
    summary: guest.state === 'running' ? `${guest.name} runs already` : `Start ${guest.name}`,
    estimates: estimate(speed, 0, 0, steps.length, request.waitForAgent),
    steps,
    basis: [guest.uuid, guest.state],
  };
}

function planDelete(
  request: Extract<OperationRequest, { kind: 'delete' }>,
  facts: SimulatedFacts,
  speed: Speed,
): Draft {
  const { guest, owned = [] } = facts;
  const inUse = owned.filter((file) => file.usedBy.length > 0);
  if (inUse.length > 0) {
    throw new OffshootError('in-use', {
      publicMessage: `A disk of ${request.guest.name} is in use by ${[...new Set(inUse.flatMap((file) => file.usedBy))].join(', ')}.`,
      remedy: 'Delete those guests first.',
    });
  }
  const ref = request.guest;
  const steps: DraftStep[] = [];
  if (guest && guest.state !== 'stopped')
    steps.push({ kind: 'stop', title: `Power off ${ref.name}`, guest: ref, force: true, timeoutSeconds: 30 });
  if (guest) {
    const { startedAt: _started, address: _address, ...rest } = guest;
    steps.push({
      kind: 'undefine',
      title: `Remove ${ref.name} from the host`,
      guest: { ...rest, state: 'stopped' },
    });
  }
  for (const file of owned)
    steps.push({
      kind: 'remove-file',
      irreversible: true,
      title: `Delete ${file.path.slice(file.path.lastIndexOf('/') + 1)}`,
      path: file.path,
    });
  return {
    summary: `Delete ${ref.name}`,
    estimates: estimate(speed, 0, 0, steps.length, false),
    notes: owned.length > 0 ? [{ level: 'warn', text: 'Its disks can’t be brought back.' }] : [],
    steps,
    basis: [ref.uuid, owned, guest?.state ?? 'gone'],
  };
}
