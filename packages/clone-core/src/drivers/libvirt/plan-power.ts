/** Plans of starting, stopping and deleting. Pure. */
import type { OperationRequest } from '../../driver.ts';
import { attestStepOf } from './plan-identity.ts';
import { estimate, info, UNDEFINE_TPM, warn, type Draft, type DraftStep } from './plan-parts.ts';
import type { LibvirtFacts } from './types.ts';

const nothing = { read: 0, move: 0, store: 0 };

export function planStart(request: Extract<OperationRequest, { kind: 'start' }>, facts: LibvirtFacts): Draft {
  const { guest, waitForAgent, agentTimeoutSeconds } = request;
  const awaiting = facts.guest?.awaiting;
  const attests =
    awaiting !== undefined && (awaiting.outcome.policy !== 'off' || awaiting.take !== undefined);
  const used = awaiting?.started === true && facts.guest?.state === 'stopped' ? awaiting.drive : undefined;
  const waits = waitForAgent && !attests;
  return {
    summary: `Start ${guest.name}`,
    estimates: estimate(facts, nothing, { steps: 1, starts: waitForAgent }),
    notes: [
      ...(facts.guest?.state === 'running' ? [warn('It already runs.')] : []),
      ...(attests ? [info('Its network is connected when its agent has shown that it is itself.')] : []),
    ],
    steps: [
      ...(used
        ? [
            {
              kind: 'drop-seed' as const,
              title: 'Take out the drive with its first settings',
              guest,
              path: used.path,
            },
          ]
        : []),
      {
        kind: 'start',
        title: waits ? 'Start and wait for its agent' : `Start ${guest.name}`,
        guest,
        ours: false,
        ...(waits ? { agentSeconds: agentTimeoutSeconds } : {}),
        ...(awaiting?.drive && !attests && !used ? { notes: awaiting } : {}),
      },
      ...(attests ? [attestStepOf(guest, awaiting)] : []),
    ],
    creates: [],
    basis: guest.uuid,
  };
}

export function planStop(request: Extract<OperationRequest, { kind: 'stop' }>, facts: LibvirtFacts): Draft {
  const { guest, force, timeoutSeconds } = request;
  return {
    summary: `Stop ${guest.name}`,
    estimates: { ...estimate(facts, nothing, { steps: 1 }), seconds: force ? 2 : 10 },
    notes: force
      ? [warn('It is switched off without being asked: what it has not written to disk is lost.')]
      : [],
    steps: [
      {
        kind: 'stop',
        title: force ? `Switch off ${guest.name}` : `Shut down ${guest.name}`,
        guest,
        force,
        timeoutSeconds,
      },
    ],
    creates: [],
    basis: [guest.uuid, force],
  };
}

/**
 * Files go before the definition: whatever stops a deletion half-way, what is left is still a guest of the inventory
 * and can be deleted again. The other way round, files without a guest could stay for ever.
 */
export function planDelete(
  request: Extract<OperationRequest, { kind: 'delete' }>,
  facts: LibvirtFacts,
): Draft {
  const { guest, owned } = request;
  const folders = [...new Set(owned.map((path) => path.slice(0, path.lastIndexOf('/'))))].filter((folder) =>
    folder.startsWith(`${facts.store}/disks/`),
  );
  const steps: DraftStep[] = [
    { kind: 'stop', title: `Switch off ${guest.name}`, guest, force: true, timeoutSeconds: 0 },
    ...(owned.length > 0
      ? [
          {
            kind: 'remove-files' as const,
            irreversible: true as const,
            title: owned.length === 1 ? 'Delete its file' : `Delete its ${owned.length} files`,
            paths: owned,
            folders,
          },
        ]
      : []),
    {
      kind: 'undefine',
      irreversible: true,
      title: `Remove ${guest.name} from the host`,
      guest,
      tpm: facts.libvirtVersion >= UNDEFINE_TPM,
      nvram: facts.guest?.nvramPath === undefined || owned.includes(facts.guest.nvramPath),
    },
  ];
  const records = facts.records ?? [];
  if (request.source && records.length > 0)
    steps.unshift({
      kind: 'settle',
      title: `Remove its change ${records.length === 1 ? 'record' : 'records'} at ${request.source.name}`,
      actions: [],
      source: request.source,
      records,
      lastChance: true,
    });
  return {
    summary: `Delete ${guest.name}`,
    estimates: estimate(facts, nothing, { steps: steps.length }),
    notes: facts.guest?.state === 'running' ? [warn('It runs now and is switched off first.')] : [],
    steps,
    creates: [],
    basis: [guest.uuid, owned],
  };
}
