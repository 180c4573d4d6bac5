/** When something is done in a round: after a time, or exactly when the event log tells of a step's boundary. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from './random.ts';
import type { OperationEvent, Watch } from './watch.ts';

export interface Moment {
  /** "when step 2 is done". */
  text: string;
  /** Resolves when it has come, or when it is not to be expected any more: then to false. */
  come(watch: Watch): Promise<boolean>;
}

/** An event that was not there by then does not come in this round, milliseconds. */
const LATEST_MS = 2500;

/** Drawn now; the wait begins when `come` is called. `of`: only of these operations. */
export function someMoment(random: Random, of?: readonly string[]): Moment {
  const about = (event: OperationEvent): boolean => of === undefined || of.includes(event.operationId);
  const jitter = random.chance(0.5) ? 0 : random.between(1, 60);
  const onEvent = (text: string, matches: (event: OperationEvent) => boolean): Moment => ({
    text: jitter === 0 ? text : `${jitter} ms after ${text}`,
    async come(watch) {
      const event = await watch.next((each) => about(each) && matches(each), LATEST_MS);
      if (event && jitter > 0) await sleep(jitter);
      return event !== undefined;
    },
  });
  const kind = random.weighted([
    { weight: 5, value: 'step' },
    { weight: 2, value: 'time' },
    { weight: 1, value: 'claim' },
    { weight: 1, value: 'plan' },
    { weight: 1, value: 'undoing' },
  ] as const);
  const index = random.weighted([
    { weight: 4, value: 0 },
    { weight: 3, value: 1 },
    { weight: 2, value: 2 },
    { weight: 1, value: 3 },
  ]);
  const state = random.pick(['running', 'done'] as const);
  const ms = random.between(0, 1200);
  switch (kind) {
    case 'step':
      return onEvent(`step ${index + 1} is ${state}`, ({ data }) => {
        return data.type === 'step' && data.index === index && data.status.state === state;
      });
    case 'claim':
      return onEvent(
        'an operation is claimed',
        ({ data }) => data.type === 'state' && data.state === 'running',
      );
    case 'plan':
      return onEvent('a plan is saved', ({ data }) => data.type === 'plan');
    case 'undoing':
      return onEvent(
        'a step is being undone',
        ({ data }) => data.type === 'step' && data.status.state === 'undoing',
      );
    default:
      return {
        text: `after ${ms} ms`,
        async come() {
          await sleep(ms);
          return true;
        },
      };
  }
}
