import { describe, expect, it } from 'vitest';
import type { Plan, Progress, Step, StepContext, StepHandler } from '../../src/driver.ts';
import { OffshootError } from '../../src/errors.ts';
import { execute, type Journal, type Outcome, type StartingPoint } from '../../src/execute.ts';
import { MemoryJournal } from '../conformance/journal.ts';

const lost = (): OffshootError =>
  new OffshootError('lost-claim', { publicMessage: 'Another worker has it now.' });
const cancel = (): OffshootError => new OffshootError('cancelled', { publicMessage: 'Cancelled.' });

function planOf(...kinds: string[]): Plan {
  return {
    version: 1,
    driver: 'simulated',
    kind: 'clone',
    summary: 'a test',
    estimates: { readBytes: 0, moveBytes: 0, storeBytes: 0, seconds: 0 },
    notes: [],
    steps: kinds.map((kind, i) => ({ id: `${i}`, kind, title: `Do ${kind}` })),
    creates: [],
    fingerprint: 'f',
  };
}

/** Handlers whose effects are a list of words, so that a test sees what was done and undone, in order. */
function recorder(
  runs: Partial<Record<string, (context: StepContext) => AsyncIterable<Progress>>> = {},
  undos: Partial<Record<string, (context: StepContext) => Promise<string | undefined>>> = {},
) {
  const did: string[] = [];
  const handler = (kind: string): StepHandler<Step> => ({
    async *run(_, context) {
      did.push(`run ${kind}`);
      yield* runs[kind]?.(context) ?? [];
    },
    async undo(_, context) {
      did.push(`undo ${kind}`);
      return undos[kind] ? undos[kind](context) : `undid ${kind}`;
    },
  });
  return {
    did,
    steps: { a: handler('a'), b: handler('b'), c: handler('c') } as Record<string, StepHandler<Step>>,
  };
}

async function* failing(error: Error): AsyncGenerator<Progress> {
  yield { doneBytes: 1 };
  throw error;
}

interface Given {
  plan?: Plan;
  signal?: AbortSignal;
  from?: StartingPoint;
  journal?: MemoryJournal;
}

const go = (
  steps: Record<string, StepHandler<Step>>,
  { plan = planOf('a', 'b', 'c'), journal = new MemoryJournal(), ...rest }: Given = {},
): Promise<Outcome> =>
  execute(plan, { steps }, journal, { operationId: 'op', signal: new AbortController().signal, ...rest });

describe('execute', () => {
  it('runs the steps in order, records each before and after, and sums up results', async () => {
    const journal = new MemoryJournal();
    const { did, steps } = recorder({
      async *a(context) {
        context.result({ movedBytes: 5 });
        context.note('went well');
        context.log('a line');
        yield { doneBytes: 5, totalBytes: 5 };
      },
      async *c(context) {
        context.result({ address: '192.0.2.1' });
        yield {};
      },
    });
    expect(await go(steps, { journal })).toEqual({
      state: 'finished',
      result: { movedBytes: 5, address: '192.0.2.1' },
    });
    expect(did).toEqual(['run a', 'run b', 'run c']);
    expect(journal.outline).toEqual([
      'stepStarted 0',
      'stepFinished 0',
      'stepStarted 1',
      'stepFinished 1',
      'stepStarted 2',
      'stepFinished 2',
    ]);
    expect(journal.calls).toContainEqual({
      call: 'stepFinished',
      index: 0,
      note: 'went well',
      result: { movedBytes: 5 },
    });
    expect(journal.calls).toContainEqual({ call: 'log', index: 0, line: 'a line' });
    expect(journal.progressOf(0)).toEqual([{ doneBytes: 5, totalBytes: 5 }]);
  });

  it('a plan without steps is finished', async () => {
    expect(await go({}, { plan: planOf() })).toEqual({ state: 'finished', result: {} });
    expect(
      await go({}, { plan: planOf(), from: { nextStep: 0, undoing: { cancelled: true } } }),
    ).toMatchObject({ state: 'cancelled' });
  });

  it('undoes backwards from the failed step, which may have half happened', async () => {
    const error = new OffshootError('no-space', { publicMessage: 'Full.' });
    const journal = new MemoryJournal();
    const { did, steps } = recorder({ b: () => failing(error) }, { a: () => Promise.resolve(undefined) });
    expect(await go(steps, { journal })).toEqual({
      state: 'failed',
      error,
      undo: { undone: ['undid b'], leftBehind: [] },
      result: {},
    });
    expect(did).toEqual(['run a', 'run b', 'undo b', 'undo a']);
    expect(journal.outline.slice(2)).toEqual([
      'stepStarted 1',
      'stepFailed 1',
      'undoStarted',
      'stepUndoing 1',
      'stepUndone 1',
      'stepUndoing 0',
      'stepUndone 0',
    ]);
  });

  it('what is no OffshootError becomes one that promises nothing and keeps its cause', async () => {
    const bug = new TypeError('undefined is not a disk');
    const outcome = await go(recorder({ a: () => failing(bug) }).steps);
    expect(outcome).toMatchObject({ state: 'failed', error: { code: 'internal', cause: bug } });
    if (outcome.state === 'failed')
      expect(JSON.stringify(outcome.error.toPublic())).not.toContain('undefined is not a disk');
  });

  it('goes on undoing when one undo fails, and says what is left behind', async () => {
    const stuck = (): Promise<never> =>
      Promise.reject(new OffshootError('busy', { publicMessage: 'The file is in use.' }));
    const { did, steps } = recorder({ c: () => failing(cancel()) }, { b: stuck });
    expect(await go(steps)).toEqual({
      state: 'cancelled',
      undo: { undone: ['undid c', 'undid a'], leftBehind: ['Do b: The file is in use.'] },
    });
    expect(did.slice(3)).toEqual(['undo c', 'undo b', 'undo b', 'undo b', 'undo a']);
  });

  it('an undo whose program was killed is tried again', async () => {
    let killed = 0;
    const once = (): Promise<string> =>
      killed++ === 0
        ? Promise.reject(new OffshootError('command-failed', { publicMessage: 'It was killed.' }))
        : Promise.resolve('undid b');
    const { steps } = recorder({ c: () => failing(cancel()) }, { b: once });
    expect(await go(steps)).toEqual({
      state: 'cancelled',
      undo: { undone: ['undid c', 'undid b', 'undid a'], leftBehind: [] },
    });
  });

  it('what a step stands on is kept when that step can’t be undone', async () => {
    const stuck = (): Promise<never> =>
      Promise.reject(new OffshootError('busy', { publicMessage: 'libvirt is busy.' }));
    const { did, steps } = recorder({ c: () => failing(cancel()) }, { b: stuck });
    const plan = planOf('a', 'b', 'c');
    const standing = {
      ...plan,
      steps: plan.steps.map((step) =>
        step.kind === 'b' ? { ...step, standsOnEarlier: true as const } : step,
      ),
    };
    expect(await go(steps, { plan: standing })).toEqual({
      state: 'cancelled',
      undo: {
        undone: ['undid c'],
        leftBehind: ['Do b: libvirt is busy.', 'Do a: kept, because the guest may be using it.'],
      },
    });
    expect(did).not.toContain('undo a');
  });

  it.each(['before', 'in the middle', 'after the last effect'])(
    'a cancel %s undoes all, with a signal that is not aborted',
    async (when) => {
      const controller = new AbortController();
      const signals: boolean[] = [];
      const seen = async ({ signal }: StepContext): Promise<undefined> => void signals.push(signal.aborted);
      const { steps } = recorder(
        {
          async *b({ signal }) {
            yield {};
            if (when === 'in the middle') {
              controller.abort(cancel());
              throw signal.reason; // oxlint-disable-line typescript/only-throw-error -- as a shell passes it on
            }
          },
          async *c() {
            yield {};
            if (when === 'after the last effect') controller.abort(cancel());
          },
        },
        { a: seen, b: seen },
      );
      if (when === 'before') controller.abort(cancel());
      expect(await go(steps, { signal: controller.signal })).toMatchObject({
        state: 'cancelled',
        undo: { leftBehind: [] },
      });
      expect(signals.every((aborted) => !aborted)).toBe(true);
    },
  );

  describe('past a step that can’t be undone', () => {
    const planned = planOf('a', 'b', 'c');
    const plan: Plan = {
      ...planned,
      steps: planned.steps.map((step) => (step.kind === 'b' ? { ...step, irreversible: true } : step)),
    };
    const cancelledIn = async (kind: string, from?: StartingPoint) => {
      const controller = new AbortController();
      const { did, steps } = recorder({
        async *[kind]() {
          yield {};
          controller.abort(cancel());
        },
      });
      if (kind === '') controller.abort(cancel());
      const outcome = await go(steps, { plan, signal: controller.signal, ...(from ? { from } : {}) });
      return { did, state: outcome.state };
    };

    it.each(['b', 'c'])('a cancel in step %s comes too late', async (kind) => {
      expect(await cancelledIn(kind)).toEqual({ did: ['run a', 'run b', 'run c'], state: 'finished' });
    });
    it('a cancel before it undoes', async () => {
      expect(await cancelledIn('a')).toEqual({ did: ['run a', 'undo a'], state: 'cancelled' });
    });
    it('resumed after a crash in it, a cancel comes too late', async () => {
      expect(await cancelledIn('', { nextStep: 1, begun: true })).toEqual({
        did: ['run b', 'run c'],
        state: 'finished',
      });
      expect(await cancelledIn('', { nextStep: 2 })).toEqual({ did: ['run c'], state: 'finished' });
    });
    it('a step that commits can be undone until it is done, and not from then on', async () => {
      const committing: Plan = {
        ...planned,
        steps: planned.steps.map((step) => (step.kind === 'b' ? { ...step, commits: true as const } : step)),
      };
      const ending = async (bs: (controller: AbortController) => void, from?: StartingPoint) => {
        const controller = new AbortController();
        const { did, steps } = recorder({
          async *b() {
            yield {};
            bs(controller);
          },
        });
        if (from) controller.abort(cancel());
        const { state } = await go(steps, {
          plan: committing,
          signal: controller.signal,
          ...(from ? { from } : {}),
        });
        return [state, ...did];
      };
      expect(await ending((controller) => controller.abort(cancel()))).toEqual([
        'finished',
        'run a',
        'run b',
        'run c',
      ]);
      const failing = (): void => {
        throw new OffshootError('command-failed', { publicMessage: 'the link was cut' });
      };
      expect(await ending(failing)).toEqual(['failed', 'run a', 'run b', 'undo b', 'undo a']);
      expect(await ending(() => undefined, { nextStep: 2 })).toEqual(['finished', 'run c']);
      expect((await ending(() => undefined, { nextStep: 1, begun: true }))[0]).toBe('cancelled');
    });
    it('resumed after a crash before it, a cancel undoes', async () => {
      expect((await cancelledIn('', { nextStep: 1 })).state).toBe('cancelled');
    });
    it('a host that is away is waited for: nothing is undone', async () => {
      const away = new OffshootError('host-unreachable', { publicMessage: 'libvirt does not answer.' });
      const { did, steps } = recorder({ c: () => failing(away) });
      await expect(go(steps, { plan })).rejects.toBe(away);
      expect(did).toEqual(['run a', 'run b', 'run c']);
    });
    it('a shutdown is obeyed', async () => {
      const controller = new AbortController();
      const reason = new OffshootError('busy', { publicMessage: 'The worker is shutting down.' });
      const { did, steps } = recorder({
        async *b() {
          yield {};
          controller.abort(reason);
        },
      });
      await expect(go(steps, { plan, signal: controller.signal })).rejects.toBe(reason);
      expect(did).toEqual(['run a', 'run b']);
    });
  });

  it('a shutdown leaves everything as it is for the next worker', async () => {
    const controller = new AbortController();
    const journal = new MemoryJournal();
    const reason = new OffshootError('busy', { publicMessage: 'The worker is shutting down.' });
    const { did, steps } = recorder({
      async *b() {
        yield {};
        controller.abort(reason);
        throw new Error('killed'); // what a process says that was ended
      },
    });
    await expect(go(steps, { signal: controller.signal, journal })).rejects.toBe(reason);
    expect(did).toEqual(['run a', 'run b']);
    expect(journal.startingPoint()).toEqual({ nextStep: 1, result: {} });
  });

  it.each(['stepStarted', 'stepFinished', 'stepFailed', 'undoStarted', 'stepUndoing', 'stepUndone'])(
    'a lost claim at %s stops it at once',
    async (at) => {
      const journal = new MemoryJournal();
      const error = lost();
      journal.onCall = ({ call }) => {
        if (call === at) throw error;
      };
      const { did, steps } = recorder({ b: () => failing(new Error('x')) });
      await expect(go(steps, { journal })).rejects.toBe(error);
      expect(did.filter((each) => each.startsWith('undo')).length).toBeLessThanOrEqual(
        at === 'stepUndone' ? 1 : 0,
      );
      expect(journal.calls.at(-1)?.call).toBe(at);
    },
  );

  it('records a start with what was before it, but of a step that can’t be undone; the last end goes with the operation’s', async () => {
    const journal = new MemoryJournal();
    const ends: (number | undefined)[] = [];
    journal.stepFinished = async (_index, _note, _result, begins) => void ends.push(begins);
    const last = { state: 'done' } as const;
    const ending: Journal = Object.assign(journal, { lastFinished: async () => last });
    const plan = planOf('a', 'b', 'c');
    const { did, steps } = recorder();
    const all = plan.steps.map((step, index) =>
      index === 2 ? { ...step, irreversible: true as const } : step,
    );
    const outcome = await execute({ ...plan, steps: all }, { steps }, ending, {
      operationId: 'op',
      signal: new AbortController().signal,
      from: { nextStep: 0, recorded: true },
    });
    expect(did).toEqual(['run a', 'run b', 'run c']);
    expect(journal.outline).toEqual(['stepStarted 2']);
    expect(ends).toEqual([1, undefined]);
    expect(outcome).toEqual({ state: 'finished', result: {}, last: { index: 2, status: last } });
  });

  it('a cancel between two steps begins nothing, though the start is recorded', async () => {
    const controller = new AbortController();
    const journal = new MemoryJournal();
    journal.onCall = (call) => {
      if (call.call === 'stepStarted' && call.index === 1)
        controller.abort(new OffshootError('cancelled', { publicMessage: 'Cancelled.' }));
    };
    const { did, steps } = recorder();
    expect(await go(steps, { signal: controller.signal, journal })).toMatchObject({ state: 'cancelled' });
    expect(did).toEqual(['run a', 'undo b', 'undo a']);
  });

  it('resumes at the first step that is not recorded as done, with the result so far', async () => {
    const { did, steps } = recorder();
    expect(await go(steps, { from: { nextStep: 2, result: { movedBytes: 7 } } })).toEqual({
      state: 'finished',
      result: { movedBytes: 7 },
    });
    expect(did).toEqual(['run c']);
  });

  it('goes on undoing after a crash and keeps why', async () => {
    const error = new OffshootError('no-space', { publicMessage: 'Full.' });
    const { did, steps } = recorder();
    expect(await go(steps, { from: { nextStep: 1, undoing: { cancelled: false, error } } })).toMatchObject({
      state: 'failed',
      error,
    });
    expect(did).toEqual(['undo b', 'undo a']);
    expect(await go(steps, { from: { nextStep: 0, undoing: { cancelled: false } } })).toMatchObject({
      state: 'failed',
      error: { code: 'internal' },
    });
  });

  it('a step of another version of the worker fails in words, after which the known ones are undone', async () => {
    const { did, steps } = recorder();
    const outcome = await go(steps, { plan: planOf('a', 'teleport') });
    expect(outcome).toMatchObject({
      state: 'failed',
      error: { code: 'internal', publicMessage: expect.stringContaining('Do teleport') },
    });
    expect(did).toEqual(['run a', 'undo a']);
  });
});
