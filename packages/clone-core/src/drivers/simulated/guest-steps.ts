/** Step handlers of the simulated driver that define, start, stop and remove guests. */
import type { GuestRef, StepHandler } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { Clock } from './clock.ts';
import type { IdentityOutcome } from '../../identity/contract.ts';
import { attestedOf } from './identity.ts';
import type { Speed } from './own-files.ts';
import { digestOf, freeBytes, type SimulatedGuest, type SimulatedHost, type SimulatedState } from './host.ts';
import type { DefineStep, StartStep, StopStep, UndefineStep, WaitAgentStep } from './step-types.ts';

function find(state: SimulatedState, guest: GuestRef): SimulatedGuest {
  const found = state.guests.find((each) => each.uuid === guest.uuid);
  if (found) return found;
  throw new OffshootError('not-found', {
    publicMessage: `The guest ${guest.name} is gone from its host.`,
    remedy: 'Look at the guest list: someone may have deleted it.',
  });
}

function powerOff(guest: SimulatedGuest): void {
  guest.state = 'stopped';
  delete guest.startedAt;
  delete guest.address;
}

function add(state: SimulatedState, guest: SimulatedGuest): void {
  if (state.guests.some((each) => each.uuid === guest.uuid)) return;
  if (state.guests.some((each) => each.name === guest.name)) {
    throw new OffshootError('name-taken', {
      publicMessage: `There already is a guest named ${guest.name} on this host.`,
      remedy: 'Choose another name.',
      field: 'name',
    });
  }
  state.guests.push({ ...structuredClone(guest), state: 'stopped' });
}

export function defineHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<DefineStep> {
  return {
    async *run(step, context) {
      const { signal } = context;
      await clock.sleep(speed.latencyMs, signal);
      if (step.identity) context.result({ identity: step.identity });
      await host.change((state) => add(state, { ...step.guest, owner: step.owner }));
      yield {};
    },
    undo: (step) =>
      host.change((state) => {
        const at = state.guests.findIndex(
          (each) => each.uuid === step.guest.uuid && each.owner === step.owner,
        );
        if (at < 0) return undefined;
        state.guests.splice(at, 1);
        return `removed guest ${step.guest.name} (simulated)`;
      }),
  };
}

export function startHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<StartStep> {
  return {
    async *run(step, { signal }) {
      await clock.sleep(speed.latencyMs, signal);
      await host.change((state) => {
        const guest = find(state, step.guest);
        if (guest.state === 'running') return;
        guest.state = 'running';
        guest.startedAt = clock.now();
        bootWrites(state, guest);
      });
      yield {};
    },
    undo: (step) =>
      host.change((state) => {
        const guest = state.guests.find((each) => each.uuid === step.guest.uuid);
        if (!guest || guest.state === 'stopped') return undefined;
        powerOff(guest);
        return `stopped ${guest.name} (simulated)`;
      }),
  };
}

/** What a boot writes (logs, caches) stays in overlays: between 8 and 40 MiB, always the same for the same guest. */
function bootWrites(state: SimulatedState, guest: SimulatedGuest): void {
  for (const { path } of guest.disks) {
    const file = state.files[path];
    if (file?.backing === undefined) continue;
    const bytes = 8 * MIB + (Number.parseInt(digestOf(guest.uuid).slice(0, 4), 16) % 32) * MIB;
    file.allocatedBytes = Math.min(
      file.virtualBytes,
      file.allocatedBytes + Math.min(bytes, freeBytes(state)),
    );
  }
}

const MIB = 1024 ** 2;

/** 198.51.100.0/24 and 203.0.113.0/24 are for documentation (RFC 5737): no real machine answers there. */
function nextAddress(state: SimulatedState): string {
  const n = state.addressesGiven++;
  return `${n % 500 < 250 ? '198.51.100' : '203.0.113'}.${(n % 250) + 2}`;
}

/** Boot time of a guest, always the same for the same guest: between 0.75 and 1.25 times the usual. */
const bootMsOf = (uuid: string, usual: number): number =>
  Math.round(usual * (0.75 + Number.parseInt(digestOf(uuid).slice(0, 4), 16) / 131_072));

export function waitAgentHandler(
  host: SimulatedHost,
  speed: Speed,
  clock: Clock,
): StepHandler<WaitAgentStep> {
  return {
    async *run(step, context) {
      const since = clock.now();
      for (;;) {
        const guest = find(await host.look(), step.guest);
        const startedAt = guest.startedAt ?? since;
        const boot = bootMsOf(guest.uuid, speed.bootMs);
        if (guest.state === 'running' && guest.hasAgent && clock.now() - startedAt >= boot) {
          const address = await host.change(
            (state) => (find(state, step.guest).address ??= nextAddress(state)),
          );
          context.result({ agentMs: boot, address });
          if (step.identity) context.result({ identity: attest(step.identity, clock.now(), address) });
          return;
        }
        const waitedMs = clock.now() - since;
        if (waitedMs > step.timeoutSeconds * 1000) {
          throw new OffshootError('agent-silent', {
            publicMessage: `The (simulated) agent of ${step.guest.name} did not answer within ${step.timeoutSeconds} s.`,
            remedy: 'Clone without waiting for the agent, or give it more time.',
            retryable: true,
          });
        }
        yield { note: `waiting for the simulated guest agent (${Math.floor(waitedMs / 1000)} s)` };
        await clock.sleep(Math.min(250, boot), context.signal);
      }
    },
    undo: () => Promise.resolve(undefined),
  };
}

function attest(outcome: IdentityOutcome, now: number, address: string): IdentityOutcome {
  if (outcome.policy === 'off') return outcome;
  const at = new Date(now);
  const attested = attestedOf(outcome, at, address);
  return { ...outcome, attested, verdict: 'attested', linkUpAt: at.toISOString() };
}

export function stopHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<StopStep> {
  return {
    async *run(step, { signal }) {
      yield { note: step.force ? 'powering off' : 'asking the guest to shut down' };
      if (find(await host.look(), step.guest).state === 'stopped') return;
      await clock.sleep(step.force ? speed.latencyMs : speed.latencyMs * 20, signal);
      await host.change((state) => powerOff(find(state, step.guest)));
    },
    // A guest that was shut down is not started again unasked.
    undo: (step) =>
      host.change((state) => {
        const guest = state.guests.find((each) => each.uuid === step.guest.uuid);
        if (step.startAgain !== true || guest?.state !== 'stopped') return undefined;
        guest.state = 'running';
        guest.startedAt = clock.now();
        return `started ${guest.name} again (simulated)`;
      }),
  };
}

export function undefineHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<UndefineStep> {
  return {
    async *run(step, { signal }) {
      await clock.sleep(speed.latencyMs, signal);
      await host.change((state) => {
        const at = state.guests.findIndex((each) => each.uuid === step.guest.uuid);
        if (at < 0) return;
        if (state.guests[at]?.state !== 'stopped') {
          throw new OffshootError('busy', {
            publicMessage: `${step.guest.name} was started again.`,
            remedy: 'Stop it, then delete it.',
          });
        }
        state.guests.splice(at, 1);
      });
      yield {};
    },
    undo: (step) =>
      host.change((state) => {
        const disksThere = step.guest.disks.every((disk) => state.files[disk.path]);
        if (!disksThere || state.guests.some((each) => each.uuid === step.guest.uuid)) return undefined;
        add(state, step.guest);
        return `defined ${step.guest.name} again (simulated)`;
      }),
  };
}
