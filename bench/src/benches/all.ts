import type { Bench } from '../result.ts';
import { differential, differentialNoBitmap } from './differential.ts';
import { distribute3, distributeDelta } from './distribute.ts';
import { eventLatency } from './event-latency.ts';
import { fleet500 } from './fleet-500.ts';
import { fullClone } from './full-clone.ts';
import { fullCloneReflink } from './full-clone-reflink.ts';
import { identityOffline } from './identity-offline.ts';
import { linked30, linkedOne } from './linked.ts';
import { memoryClone } from './memory-clone.ts';
import { migrate } from './migrate.ts';
import { reset } from './reset.ts';
import { spread30 } from './spread.ts';
import { subscribers1000 } from './subscribers.ts';

/** Every bench, in the order they run. */
export const benches: readonly Bench[] = [
  fullClone,
  fullCloneReflink,
  linked30,
  linkedOne,
  differential,
  differentialNoBitmap,
  reset,
  distribute3,
  distributeDelta,
  spread30,
  migrate,
  memoryClone,
  identityOffline,
  eventLatency,
  subscribers1000,
  fleet500,
];
