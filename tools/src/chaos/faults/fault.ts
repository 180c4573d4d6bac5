import type { ErrorCode } from '@offshoot/clone-core/errors';
import type { Asked } from '../asking.ts';
import type { Moment } from '../moments.ts';
import type { Random } from '../random.ts';
import type { World } from '../world.ts';

/** One thing that goes wrong in a round. It repairs what it broke, as far as someone would in life. */
export interface Fault {
  kind: string;
  weight: number;
  /** Why this run can't do it; undefined when it can. */
  unavailable?(world: World): string | undefined;
  /** Errors that operations may end with because of it. Any other failure in its round is a violation. */
  excuses: readonly ErrorCode[];
  /** Resolves with what was done, or with undefined when its moment did not come. */
  inflict(world: World, random: Random, moment: Moment): Promise<string | undefined>;
  /** For faults that bring a source of their own: asks for the operation that it is about. */
  begin?(world: World, random: Random): Promise<Asked[]>;
}

/** A fault that is done at its moment. */
export const atMoment =
  (work: (world: World, random: Random) => Promise<string | undefined>): Fault['inflict'] =>
  async (world, random, moment) =>
    (await moment.come(world.watch)) ? work(world, random) : undefined;
