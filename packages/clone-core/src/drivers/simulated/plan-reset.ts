/** Plans of the simulated driver that put a linked clone back to its base. Pure. */
import type { IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { SimulatedFacts } from './facts.ts';
import { OVERLAY_BYTES } from './host.ts';
import type { Speed } from './own-files.ts';
import { createdFiles, estimate, needGuest, needSpace, type Draft, type DraftStep } from './plan-parts.ts';

export function planReset(
  request: Extract<OperationRequest, { kind: 'reset' }>,
  facts: SimulatedFacts,
  ids: IdSource,
  speed: Speed,
): Draft {
  const guest = needGuest(facts);
  const disks = facts.disks ?? [];
  needSpace(facts, OVERLAY_BYTES * disks.length);
  const mark = ids.uuid().slice(0, 8);
  const swaps = disks.map((disk) => {
    const live = guest.disks.find((each) => each.target === disk.target)?.path;
    if (live !== undefined)
      return { base: disk.path, live, fresh: `${live}.fresh-${mark}`, kept: `${live}.before-${mark}` };
    throw new OffshootError('source-changed', {
      publicMessage: `${guest.name} has no disk ${disk.target} any more.`,
      remedy: 'Look at its definition.',
    });
  });
  const ran = guest.state !== 'stopped';
  const ref = request.guest;
  const power: DraftStep = {
    kind: 'stop',
    title: `Power off ${guest.name}`,
    guest: ref,
    force: true,
    timeoutSeconds: 30,
    startAgain: true,
  };
  const starts: DraftStep[] = [
    { kind: 'start', title: `Start ${guest.name}`, guest: ref },
    ...(request.waitForAgent
      ? [
          {
            kind: 'wait-agent' as const,
            title: 'Wait for the guest agent',
            guest: ref,
            timeoutSeconds: request.agentTimeoutSeconds,
          },
        ]
      : []),
  ];
  const made = swaps.map(({ base, fresh }): DraftStep => ({
    kind: 'overlay',
    title: 'Create a new disk on its base',
    base,
    to: fresh,
  }));
  const steps: DraftStep[] = [
    ...(ran ? [power] : []),
    ...made,
    { kind: 'swap', title: 'Put it in the place of the old one', guest: ref, swaps },
    ...(ran ? starts : []),
    { kind: 'discard', title: 'Delete what was before', guest: ref, swaps },
  ];
  return {
    summary: `Reset ${guest.name} to ${request.label} as it was cloned`,
    strategy: 'overlay',
    estimates: estimate(speed, 0, OVERLAY_BYTES * disks.length, steps.length, ran && request.waitForAgent),
    notes: [{ level: 'warn', text: `What ${guest.name} wrote since it was cloned is lost.` }],
    steps,
    creates: [...createdFiles(made), ...swaps.map(({ kept }) => ({ type: 'file' as const, name: kept }))],
    basis: [guest.uuid, guest.state, request.base.digest],
  };
}
