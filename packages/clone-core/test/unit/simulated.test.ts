import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { makeDriver } from '../../src/drivers/registry.ts';
import { instantClock, manualClock, scaledClock } from '../../src/drivers/simulated/clock.ts';
import { simulatedDriver, type SimulatedOptions } from '../../src/drivers/simulated/driver.ts';
import type { Fault } from '../../src/drivers/simulated/faults.ts';
import { sampleState, SimulatedHost } from '../../src/drivers/simulated/host.ts';
import { OffshootError } from '../../src/errors.ts';
import { localShell } from '../../src/shell/local.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { failure, until } from '../conformance/until.ts';
import { cloneOf, perform, planOf, workerStopped } from '../conformance/workbench.ts';

const never = new AbortController().signal;
const folder = mkdtempSync(join(tmpdir(), 'offshoot-simulated-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const newHost = (): SimulatedHost =>
  new SimulatedHost(sampleState({ store: '/simulated', guests: 2, seed: 1 }));

async function setUp(options: SimulatedOptions = {}) {
  const driver = simulatedDriver({ host: newHost(), clock: instantClock(), ...options });
  const [first] = await driver.list(never);
  if (!first) throw new Error('a sample host has guests');
  return { driver, source: { uuid: first.uuid, name: first.name } };
}

describe('time', () => {
  it('a copy takes as long as its rate says, on its own clock, and tells its bytes', async () => {
    const clock = manualClock();
    const { driver, source } = await setUp({ clock, speed: { copyRate: 1e9, tickMs: 1000, latencyMs: 0 } });
    const plan = await planOf(driver, cloneOf(source, 'timed'));
    const journal = new MemoryJournal();
    const began = clock.now();
    let over = false;
    const running = perform(driver, plan, journal).finally(() => (over = true));
    const next = (): Promise<void> => until(() => over || clock.sleeping > 0, 'the next sleep');
    for (await next(); clock.sleeping > 0; await next()) clock.advance(1000);
    expect((await running).state).toBe('finished');
    const bytes = journal.progressOf(0).map((progress) => progress.doneBytes ?? 0);
    expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
    expect(bytes.at(-1)).toBe(plan.steps[0]?.bytes);
    expect(clock.now() - began).toBeGreaterThanOrEqual((plan.estimates.moveBytes / 1e9) * 1000);
  });

  it('a scaled clock runs that much faster', async () => {
    vi.useFakeTimers();
    try {
      const clock = scaledClock(100_000);
      const began = clock.now();
      let ended = false;
      const sleeping = clock.sleep(600_000, never).then(() => (ended = true));
      await vi.advanceTimersByTimeAsync(5);
      expect(ended).toBe(false);
      await vi.advanceTimersByTimeAsync(1);
      await sleeping;
      expect(clock.now() - began).toBe(600_000);
    } finally {
      vi.useRealTimers();
    }
  });

  it('an aborted sleep ends with the reason', async () => {
    const reason = workerStopped();
    for (const each of [scaledClock(100_000), instantClock(), manualClock()]) {
      expect(await failure(each.sleep(1e9, AbortSignal.abort(reason)))).toBe(reason);
    }
    const controller = new AbortController();
    const sleeping = failure(scaledClock(100_000).sleep(1e15, controller.signal));
    controller.abort(reason);
    expect(await sleeping).toBe(reason);
  });
});

describe('faults', () => {
  const cloned = async (faults: Fault[], signal = never, seed = 1) => {
    const { driver, source } = await setUp({ faults, seed });
    const before = await driver.list(never);
    const outcome = await perform(
      driver,
      await planOf(driver, cloneOf(source, 'faulty')),
      new MemoryJournal(),
      signal,
    );
    return {
      outcome,
      clean: JSON.stringify(await driver.list(never)) === JSON.stringify(before),
      driver,
      source,
    };
  };

  it('a step fails with the error it was told to, and all is undone', async () => {
    const { outcome, clean } = await cloned([
      { step: 'copy', type: 'fail', error: { code: 'no-space', message: 'Full, as told.' } },
    ]);
    expect(outcome).toMatchObject({
      state: 'failed',
      error: { code: 'no-space', publicMessage: 'Full, as told.' },
      undo: { leftBehind: [] },
    });
    expect(clean).toBe(true);
  });

  it('without words of its own it says that it is simulated; a crash is no OffshootError', async () => {
    const failed = await cloned([{ step: 'define', type: 'fail', after: 1 }]);
    expect(failed.outcome).toMatchObject({
      error: { publicMessage: expect.stringContaining('Simulated fault') },
    });
    const crashed = await cloned([{ step: 'define', type: 'crash' }]);
    expect(crashed.outcome).toMatchObject({ error: { code: 'internal', cause: expect.any(TypeError) } });
    expect([failed.clean, crashed.clean]).toEqual([true, true]);
  });

  it('strikes only the n-th time', async () => {
    const { driver, source } = await setUp({ faults: [{ step: 'define', type: 'fail', nth: 2 }] });
    const states = [];
    for (const name of ['n1', 'n2', 'n3'])
      states.push((await perform(driver, await planOf(driver, cloneOf(source, name), name))).state);
    expect(states).toEqual(['finished', 'failed', 'finished']);
  });

  it('a probable fault strikes the same runs for the same seed', async () => {
    const runs = async (seed: number): Promise<string> => {
      const { driver, source } = await setUp({
        seed,
        faults: [{ step: 'define', type: 'fail', probability: 0.5 }],
      });
      let states = '';
      for (let i = 0; i < 12; i++)
        states += (await perform(driver, await planOf(driver, cloneOf(source, `p${i}`), `p${i}`))).state[1];
      return states;
    };
    const first = await runs(3);
    expect(await runs(3)).toBe(first);
    expect(new Set(first).size).toBe(2);
  });

  it('a hanging step ends by cancel; a failing undo is told', async () => {
    const controller = new AbortController();
    const { driver, source } = await setUp({
      faults: [
        { step: 'copy', type: 'hang' },
        // Each time that it is tried.
        ...[1, 2, 3].map((nth): Fault => ({ step: 'copy', type: 'fail', on: 'undo', nth })),
      ],
    });
    const journal = new MemoryJournal();
    journal.onCall = ({ call }) => {
      if (call === 'progress')
        controller.abort(new OffshootError('cancelled', { publicMessage: 'Cancelled.' }));
    };
    const plan = await planOf(driver, cloneOf(source, 'hangs'));
    const outcome = await perform(driver, plan, journal, controller.signal);
    expect(outcome).toMatchObject({
      state: 'cancelled',
      undo: { leftBehind: [expect.stringContaining('Copy disk vda')] },
    });
    expect(await perform(driver, plan, journal, never, journal.startingPoint())).toMatchObject({
      undo: { leftBehind: [] },
    });
  });

  it('a slow step takes its factor longer', async () => {
    const took = async (faults: Fault[]): Promise<number> => {
      const clock = instantClock();
      const { driver, source } = await setUp({ clock, faults });
      const plan = await planOf(driver, cloneOf(source, 'slow'));
      const began = clock.now();
      await perform(driver, plan);
      return clock.now() - began;
    };
    expect(await took([{ step: '*', type: 'slow', factor: 5 }])).toBe(5 * (await took([])));
  });
});

describe('a configured simulation', () => {
  const shell = localShell();
  const stateFile = join(folder, 'state.json');
  const driver = () =>
    makeDriver(
      { kind: 'simulated', store: '/simulated', simulated: { stateFile, timeFactor: 10_000, guests: 2 } },
      shell,
    );

  it('keeps its guests over a restart, also in the middle of a copy', async () => {
    const before = driver();
    const [first] = await before.list(never);
    const source = { uuid: first?.uuid ?? '', name: first?.name ?? '' };
    const plan = await planOf(before, cloneOf(source, 'kept'));
    const controller = new AbortController();
    const journal = new MemoryJournal();
    journal.onCall = ({ call }) => {
      if (call === 'progress') controller.abort(workerStopped());
    };
    expect((await failure(perform(before, plan, journal, controller.signal))).code).toBe('lost-claim');
    journal.onCall = () => undefined;
    expect(await perform(driver(), plan, journal, never, journal.startingPoint())).toMatchObject({
      state: 'finished',
    });
    expect((await driver().list(never)).map((guest) => guest.name)).toContain('kept');
    expect(readdirSync(folder)).toEqual(['state.json']);
  });

  it('says what to do with a state file that can’t be read', async () => {
    writeFileSync(stateFile, '{"version": 2}');
    expect(await failure(driver().list(never))).toMatchObject({
      remedy: expect.stringContaining('Delete it'),
    });
  });

  it('many changes at once are all kept', async () => {
    rmSync(stateFile);
    const one = driver();
    const [first] = await one.list(never);
    const source = { uuid: first?.uuid ?? '', name: first?.name ?? '' };
    const names = Array.from({ length: 20 }, (_, i) => `many-${i}`);
    const plans = await Promise.all(names.map((name) => planOf(one, cloneOf(source, name), name)));
    await Promise.all(plans.map((plan) => perform(one, plan)));
    expect((await driver().list(never)).length).toBe(22);
  });

  it('everything it shows says that it is simulated', async () => {
    const one = driver();
    const facts = await one.hostFacts(never);
    expect(facts.hypervisor).toContain('simulated');
    expect(facts.accelerator).toMatchObject({
      name: 'simulated',
      detail: expect.stringContaining('Simulated'),
    });
    expect(facts.store.filesystem).toBe('simulated');
    expect(one.info).toMatchObject({ kind: 'simulated', simulated: true });
  });
});

describe('watch', () => {
  it('calls back after changes by any hand, until aborted', async () => {
    const host = newHost();
    const { driver, source } = await setUp({ host });
    const other = simulatedDriver({ host, clock: instantClock() });
    const controller = new AbortController();
    let changes = 0;
    const watching = driver.watch(() => changes++, controller.signal);
    const plan = await planOf(other, cloneOf(source, 'seen'));
    await perform(other, plan);
    expect(changes).toBeGreaterThan(0);
    controller.abort();
    await watching;
    const counted = changes;
    const guest = { uuid: plan.guest?.uuid ?? '', name: 'seen' };
    await perform(
      other,
      await planOf(other, { kind: 'start', guest, waitForAgent: false, agentTimeoutSeconds: 9 }),
    );
    expect(changes).toBe(counted);
    await driver.watch(() => changes++, AbortSignal.abort());
  });
});

it('an agent that never answers is told after the time given', async () => {
  const host = newHost();
  await host.change((state) => state.guests.forEach((guest) => (guest.hasAgent = false)));
  const { driver, source } = await setUp({ host });
  const outcome = await perform(
    driver,
    await planOf(driver, cloneOf(source, 'silent', { start: true, agentTimeoutSeconds: 20 })),
  );
  expect(outcome).toMatchObject({
    state: 'failed',
    error: { code: 'agent-silent' },
    undo: { leftBehind: [] },
  });
  expect((await driver.list(never)).some((guest) => guest.name === 'silent')).toBe(false);
});
