/** Cases: a worker that dies anywhere, resuming, undoing, cancelling. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { GuestRef, OperationRequest, Plan } from '../../../src/driver.ts';
import { MemoryJournal } from '../journal.ts';
import type { ConformanceRig } from '../rig.ts';
import type { Stage } from '../suite.ts';
import {
  cloneOf,
  destroyClone,
  finish,
  make,
  moments,
  options,
  perform,
  performUntil,
  planOf,
  resetOf,
  snapshot,
  stateOf,
  undoAll,
  userCancelled,
  workerStopped,
  type Moment,
} from '../workbench.ts';
import { baseOf, linkedOf } from './base.ts';

/** A kind of plan: how to get it, what it comes to, how to be rid of it. */
interface Flavour {
  name: string;
  /** Takes seconds each time: left out unless OFFSHOOT_THOROUGH=1. */
  slow?: boolean;
  /** Why the driver can't do it at all. */
  unable?(stage: Stage): string | undefined;
  /** Makes what the plan needs; returns the request and how to take that away again. */
  prepare(stage: Stage): Promise<{ request: OperationRequest; clean: () => Promise<void> }>;
  state(stage: Stage, plan: Plan): Promise<unknown>;
  destroy(stage: Stage, plan: Plan): Promise<void>;
  /** What an undo must have left or made as it was, beside the host's look. */
  untouched?(stage: Stage): Promise<unknown>;
  /** Its last step deletes what was before: done, it can't be undone, and says so. */
  final?: boolean;
}

const cloneState = (stage: Stage, plan: Plan): Promise<unknown> => stateOf(stage.rig, plan.guest?.name ?? '');
const cloneDestroy = (stage: Stage, plan: Plan): Promise<void> => destroyClone(stage.rig, plan);

const RUNNING = 'cut-source';
const runningSources = new WeakMap<ConformanceRig, Promise<GuestRef>>();

/** One running source per rig: it takes a while to start and stays as it is. */
function runningSource(rig: ConformanceRig): Promise<GuestRef> {
  const made = runningSources.get(rig) ?? rig.makeSource({ name: RUNNING, running: true });
  runningSources.set(rig, made);
  return made;
}

function unableMemory({ rig }: Stage): string | undefined {
  const can = rig.driver().info.capabilities.memory.running;
  if (can !== true) return can.why;
  return rig.hasAgent ? undefined : 'the guests of this rig have no agent';
}

const flavours: Flavour[] = [
  {
    name: 'full clone',
    prepare: ({ source }) =>
      Promise.resolve({ request: cloneOf(source, 'cut-full'), clean: () => Promise.resolve() }),
    state: cloneState,
    destroy: cloneDestroy,
  },
  {
    name: 'full clone, started',
    prepare: ({ source }) =>
      Promise.resolve({
        // Nothing waits for it: what it writes once it has booted is of another moment each time.
        request: cloneOf(source, 'cut-start', {
          start: true,
          waitForAgent: false,
          identity: { ...options().identity, policy: 'off' },
        }),
        clean: () => Promise.resolve(),
      }),
    state: cloneState,
    destroy: cloneDestroy,
  },
  {
    name: 'full clone of a running guest',
    unable({ rig }) {
      const can = rig.driver().info.capabilities.full.running;
      return can === true ? undefined : can.why;
    },
    prepare: async ({ rig }) => ({
      request: cloneOf(await runningSource(rig), 'cut-running'),
      clean: () => Promise.resolve(),
    }),
    // Its content is of another moment each time.
    state: async ({ rig }, plan) => ({
      host: await snapshot(rig),
      definition: await rig.definition(plan.guest?.name ?? ''),
      source: await rig.definition(RUNNING),
      sourceRuns: await rig.isRunning(RUNNING),
    }),
    destroy: cloneDestroy,
  },
  {
    name: 'linked clone',
    async prepare({ rig, source }) {
      const base = baseOf(
        (await make(rig, { kind: 'capture', guest: source, label: 'a base' }, 'for linked')).outcome.result,
      );
      const clean = async (): Promise<void> =>
        void (await make(rig, { kind: 'remove-base', label: 'a base', base }, 'clean'));
      return { request: linkedOf(base, 'cut-linked'), clean };
    },
    state: cloneState,
    destroy: cloneDestroy,
  },
  {
    name: 'capture with memory',
    slow: true,
    unable: unableMemory,
    prepare: async ({ rig }) => ({
      request: { kind: 'capture', guest: await runningSource(rig), label: 'cut point', memory: true },
      clean: () => Promise.resolve(),
    }),
    // Its content is of another moment each time, and a base is named by its content.
    state: async ({ rig }) => ({
      ...(await snapshot(rig)),
      files: (await rig.look()).files.map((path) => path.replace(/\/bases\/[0-9a-f]{12}/, '/bases/point')),
      source: await rig.definition(RUNNING),
      sourceRuns: await rig.isRunning(RUNNING),
    }),
    async destroy({ rig }, plan) {
      expect(await undoAll(rig.driver(), plan)).toMatchObject({ undo: { leftBehind: [] } });
    },
  },
  {
    name: 'clone with memory',
    slow: true,
    unable: unableMemory,
    async prepare({ rig }) {
      const guest = await runningSource(rig);
      const request: OperationRequest = { kind: 'capture', guest, label: 'a point', memory: true };
      const base = baseOf((await make(rig, request, 'for memory')).outcome.result);
      const clean = async (): Promise<void> =>
        void (await make(rig, { kind: 'remove-base', label: 'a point', base }, 'clean'));
      const part = { start: true, agentTimeoutSeconds: 60 };
      return { request: { ...linkedOf(base, 'cut-memory', 'memory'), options: options(part) }, clean };
    },
    // It runs: its disks change all the time.
    state: async ({ rig }, plan) => ({
      host: await snapshot(rig),
      definition: await rig.definition(plan.guest?.name ?? ''),
      running: await rig.isRunning(plan.guest?.name ?? ''),
    }),
    destroy: cloneDestroy,
  },
  {
    name: 'capture',
    prepare: ({ source }) =>
      Promise.resolve({
        request: { kind: 'capture', guest: source, label: 'cut base' },
        clean: () => Promise.resolve(),
      }),
    state: async ({ rig }) => ({ host: await snapshot(rig) }),
    async destroy({ rig }, plan) {
      const outcome = await undoAll(rig.driver(), plan); // of a finished capture the undo is the same as a removal
      expect(outcome).toMatchObject({ undo: { leftBehind: [] } });
    },
  },
];

const RESET = 'cut-reset';

flavours.push({
  name: 'reset of a linked clone',
  final: true,
  async prepare({ rig, source }) {
    const base = baseOf(
      (await make(rig, { kind: 'capture', guest: source, label: 'a base' }, 'for reset')).outcome.result,
    );
    const { plan } = await make(rig, linkedOf(base, RESET), RESET);
    await rig.writeTo(RESET);
    const clean = async (): Promise<void> => {
      await destroyClone(rig, plan);
      await make(rig, { kind: 'remove-base', label: 'a base', base }, 'clean');
    };
    return { request: resetOf(plan, base), clean };
  },
  state: ({ rig }) => stateOf(rig, RESET),
  destroy: ({ rig }) => rig.writeTo(RESET),
  untouched: async ({ rig }) => ({
    content: await rig.content(RESET),
    definition: await rig.definition(RESET),
  }),
});

export function crashCases(stage: () => Stage): void {
  describe.each(flavours)('$name', (flavour) => {
    beforeEach(({ skip }) => {
      const why = flavour.unable?.(stage());
      if (why !== undefined) skip(why);
      if (flavour.slow === true && process.env['OFFSHOOT_THOROUGH'] !== '1')
        skip('slow; OFFSHOOT_THOROUGH=1 runs it');
    });

    /** What a cut before a step leaves is what a cut after the one before it leaves, but for a line in the journal. */
    const worthwhile = (moment: Moment, skip: (why: string) => never): void => {
      if (moment === 'before' && stage().rig.slow === true && process.env['OFFSHOOT_THOROUGH'] !== '1')
        skip('nearly what is left after the step before; slow; OFFSHOOT_THOROUGH=1 runs it');
    };

    const look = async (): Promise<unknown> => ({
      host: await snapshot(stage().rig),
      more: await flavour.untouched?.(stage()),
    });
    /** Runs `each` for every step; before and after it the host is as it was. */
    const forEachStep = async (
      each: (plan: Plan, step: number, uncut: unknown) => Promise<void>,
    ): Promise<void> => {
      const { request, clean } = await flavour.prepare(stage());
      const before = await look();
      const plan = await planOf(stage().rig.driver(), request, flavour.name);
      await finish(stage().rig.driver(), plan);
      const uncut = await flavour.state(stage(), plan);
      await flavour.destroy(stage(), plan);
      expect(await look()).toEqual(before);
      for (let step = 0; step < plan.steps.length; step++) {
        // What it exchanges is known by what it was: each run finds other files.
        const now =
          flavour.final === true
            ? await planOf(stage().rig.driver(), request, `${flavour.name} ${step}`)
            : plan;
        await each(now, step, uncut);
        expect(await look(), `after step ${step} (${plan.steps[step]?.kind ?? ''})`).toEqual(before);
      }
      await clean();
    };

    const isFinal = (plan: Plan, step: number, moment: Moment): boolean =>
      flavour.final === true && step === plan.steps.length - 1 && moment === 'after';
    /** Too late: everything is done, and the report says what can't be brought back. */
    const expectToldThatDone = async (plan: Plan, outcome: unknown, uncut: unknown): Promise<void> => {
      expect(outcome).toMatchObject({
        state: 'cancelled',
        undo: { leftBehind: expect.arrayContaining([expect.stringContaining('can’t be brought back')]) },
      });
      expect(await flavour.state(stage(), plan)).toEqual(uncut);
      await flavour.destroy(stage(), plan);
    };

    it('every step can be run twice', async () => {
      const { rig } = stage();
      await forEachStep(async (plan, step, uncut) => {
        const journal = new MemoryJournal();
        await performUntil(rig.driver(), plan, { step, moment: 'after' }, workerStopped(), journal);
        const again = { ...plan, steps: plan.steps.slice(0, step + 1) };
        await perform(rig.driver(), again, new MemoryJournal(), undefined, { nextStep: step });
        expect(await perform(rig.driver(), plan, journal, undefined, { nextStep: step })).toMatchObject({
          state: 'finished',
        });
        expect(await flavour.state(stage(), plan)).toEqual(uncut);
        await flavour.destroy(stage(), plan);
      });
    });

    it.for(moments)(
      'cut %s any step, a new worker finishes as if nothing had been',
      async (moment: Moment, { skip }) => {
        worthwhile(moment, skip);
        const { rig } = stage();
        await forEachStep(async (plan, step, uncut) => {
          const journal = new MemoryJournal();
          expect(
            await performUntil(rig.driver(), plan, { step, moment }, workerStopped(), journal),
          ).toBeUndefined();
          expect(await rig.processes()).toBe(0);
          expect(journal.startingPoint().nextStep).toBe(step);
          const outcome = await perform(rig.driver(), plan, journal, undefined, journal.startingPoint());
          expect(outcome).toMatchObject({ state: 'finished' });
          expect(await flavour.state(stage(), plan)).toEqual(uncut);
          await flavour.destroy(stage(), plan);
        });
      },
    );

    it.for(moments)(
      'cut %s any step, a new worker undoes it all; undoing twice is harmless',
      async (moment: Moment, { skip }) => {
        worthwhile(moment, skip);
        const { rig } = stage();
        await forEachStep(async (plan, step, uncut) => {
          const journal = new MemoryJournal();
          await performUntil(rig.driver(), plan, { step, moment }, workerStopped(), journal);
          const undoing = { nextStep: step, undoing: { cancelled: true } };
          if (isFinal(plan, step, moment)) {
            const outcome = await perform(rig.driver(), plan, journal, undefined, undoing);
            await expectToldThatDone(plan, outcome, uncut);
            return;
          }
          const before = await perform(rig.driver(), plan, journal, undefined, undoing);
          expect(before).toEqual({ state: 'cancelled', undo: { undone: expect.any(Array), leftBehind: [] } });
          expect(await perform(rig.driver(), plan, journal, undefined, undoing)).toEqual({
            state: 'cancelled',
            undo: { undone: [], leftBehind: [] },
          });
        });
      },
    );

    it.for(moments)('cancelled %s any step: nothing is left', async (moment: Moment, { skip }) => {
      worthwhile(moment, skip);
      const { rig } = stage();
      await forEachStep(async (plan, step, uncut) => {
        const outcome = await performUntil(
          rig.driver(),
          plan,
          { step, moment },
          userCancelled(),
          new MemoryJournal(),
        );
        expect(await rig.processes()).toBe(0);
        if (isFinal(plan, step, moment)) await expectToldThatDone(plan, outcome, uncut);
        else expect(outcome).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
      });
    });

    it('cut while undoing, a new worker goes on undoing', async () => {
      const { rig } = stage();
      await forEachStep(async (plan, step) => {
        const journal = new MemoryJournal();
        const last = plan.steps.length - (flavour.final === true ? 2 : 1);
        await performUntil(rig.driver(), plan, { step: last, moment: 'after' }, workerStopped(), journal);
        await journal.undoStarted({ cancelled: true });
        const stopped = workerStopped();
        journal.onCall = (call) => {
          if (call.call === 'stepUndone' && call.index === Math.min(step, last)) throw stopped;
        };
        await expect(perform(rig.driver(), plan, journal, undefined, journal.startingPoint())).rejects.toBe(
          stopped,
        );
        journal.onCall = () => undefined;
        const outcome = await perform(rig.driver(), plan, journal, undefined, journal.startingPoint());
        expect(outcome).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
      });
    });

    it('undoing a plan that never ran changes nothing', async () => {
      const { rig } = stage();
      const { request, clean } = await flavour.prepare(stage());
      const before = await look();
      const plan = await planOf(rig.driver(), request, 'never ran');
      expect(await undoAll(rig.driver(), plan)).toEqual({
        state: 'cancelled',
        undo: { undone: [], leftBehind: [] },
      });
      expect(await look()).toEqual(before);
      await clean();
    });
  });
}
