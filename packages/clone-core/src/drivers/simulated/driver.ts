/**
 * The simulated driver: a host in memory with controllable time and faults, for load tests and demos. Whatever it
 * shows says that it is simulated.
 */
import type { HostFacts } from '../../contract.ts';
import type { Driver } from '../../driver.ts';
import { realClock, type Clock } from './clock.ts';
import { factsFor, hostFactsOf, type SimulatedFacts } from './facts.ts';
import { Faults, type Fault } from './faults.ts';
import { compareHandler } from './compare-step.ts';
import { simulatedDrift } from './drift.ts';
import { copyHandler, importHandler, overlayHandler } from './copy-steps.ts';
import { pointHandler, releaseHandler, removeFileHandler, sealHandler } from './file-steps.ts';
import type { Speed } from './own-files.ts';
import {
  defineHandler,
  startHandler,
  stopHandler,
  undefineHandler,
  waitAgentHandler,
} from './guest-steps.ts';
import { sampleState, SimulatedHost, type SimulatedGuest, type SimulatedState } from './host.ts';
import { capabilities } from './plan-parts.ts';
import { planSimulated } from './plan.ts';
import { discardHandler, swapHandler } from './swap-steps.ts';
import type { SimulatedStep } from './step-types.ts';

export interface SimulatedOptions {
  /** The host; several drivers may share one, as workers that follow each other do. Default: a sample host in memory. */
  host?: SimulatedHost;
  clock?: Clock;
  faults?: readonly Fault[];
  seed?: number;
  speed?: Partial<Speed>;
}

const USUAL_SPEED: Speed = { copyRate: 500e6, latencyMs: 60, tickMs: 100, bootMs: 5000 };

export type SimulatedDriver = Driver<SimulatedStep, SimulatedFacts>;

/** A driver for a host that exists only in memory. */
export function simulatedDriver(options: SimulatedOptions = {}): SimulatedDriver {
  const seed = options.seed ?? 1;
  const host = options.host ?? new SimulatedHost(sampleState({ store: '/simulated', guests: 3, seed }));
  const clock = options.clock ?? realClock();
  const speed: Speed = { ...USUAL_SPEED, ...options.speed };
  const now = (): string => new Date(clock.now()).toISOString();
  const provenAt = now();
  const hostFacts = (state: SimulatedState): HostFacts => ({
    ...hostFactsOf(state, provenAt),
    copyRate: speed.copyRate,
  });
  return {
    info: { kind: 'simulated', simulated: true, capabilities },
    async inspect(request, signal) {
      signal.throwIfAborted();
      const state = await host.look();
      return factsFor(request, state, hostFacts(state), now());
    },
    plan: (request, facts, ids) => planSimulated(request, facts, ids, speed),
    steps: stepsOf(host, clock, speed, new Faults(options.faults ?? [], seed)),
    async list(signal) {
      signal.throwIfAborted();
      const state = await host.look();
      return state.guests.map((guest) => observed(guest, state));
    },
    async hostFacts(signal) {
      signal.throwIfAborted();
      return hostFacts(await host.look());
    },
    async drift(guest, base, signal) {
      signal.throwIfAborted();
      return simulatedDrift(await host.look(), guest, base, now());
    },
    watch: (onChange, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) {
          resolve();
          return;
        }
        const forget = host.onChange(onChange);
        signal.addEventListener(
          'abort',
          () => {
            forget();
            resolve();
          },
          { once: true },
        );
      }),
  };
}

function stepsOf(host: SimulatedHost, clock: Clock, speed: Speed, faults: Faults): SimulatedDriver['steps'] {
  return {
    point: faults.wrap('point', clock, (at) => pointHandler(host, speed, at)),
    copy: faults.wrap('copy', clock, (at) => copyHandler(host, speed, at)),
    'import-image': faults.wrap('import-image', clock, (at) => importHandler(host, speed, at)),
    overlay: faults.wrap('overlay', clock, (at) => overlayHandler(host, speed, at)),
    release: faults.wrap('release', clock, (at) => releaseHandler(host, speed, at)),
    define: faults.wrap('define', clock, (at) => defineHandler(host, speed, at)),
    start: faults.wrap('start', clock, (at) => startHandler(host, speed, at)),
    'wait-agent': faults.wrap('wait-agent', clock, (at) => waitAgentHandler(host, speed, at)),
    seal: faults.wrap('seal', clock, (at) => sealHandler(host, speed, at)),
    stop: faults.wrap('stop', clock, (at) => stopHandler(host, speed, at)),
    undefine: faults.wrap('undefine', clock, (at) => undefineHandler(host, speed, at)),
    compare: faults.wrap('compare', clock, (at) => compareHandler(host, speed, at)),
    swap: faults.wrap('swap', clock, (at) => swapHandler(host, speed, at)),
    discard: faults.wrap('discard', clock, (at) => discardHandler(host, speed, at)),
    'remove-file': faults.wrap('remove-file', clock, (at) => removeFileHandler(host, speed, at)),
  };
}

function observed(
  guest: SimulatedGuest,
  state: SimulatedState,
): Awaited<ReturnType<SimulatedDriver['list']>>[number] {
  return {
    uuid: guest.uuid,
    name: guest.name,
    state: guest.state,
    vcpus: guest.vcpus,
    memoryBytes: guest.memoryBytes,
    macs: guest.nics.map((nic) => nic.mac),
    ...(guest.address === undefined ? {} : { address: guest.address }),
    disks: guest.disks.map(({ target, path }) => ({
      target,
      path,
      format: 'qcow2',
      virtualBytes: state.files[path]?.virtualBytes ?? 0,
      usedBytes: state.files[path]?.allocatedBytes ?? 0,
    })),
  };
}
