/** Files of the simulated host as step handlers see them: made by this plan, or not theirs to touch. */
import { OffshootError } from '../../errors.ts';
import type { SimulatedFile, SimulatedHost, SimulatedState } from './host.ts';

/** How fast the simulated host is. Bytes per second and milliseconds of its clock. */
export interface Speed {
  copyRate: number;
  /** What a small step takes. */
  latencyMs: number;
  /** Between two progress reports. */
  tickMs: number;
  /** From start to the agent's first answer, about. */
  bootMs: number;
}

/** The file of this plan at the path; undefined when there is none. Throws `in-use` when it is someone else's. */
export function ownFile(state: SimulatedState, path: string, owner: string): SimulatedFile | undefined {
  const file = state.files[path];
  if (!file || file.owner === owner) return file;
  throw new OffshootError('in-use', {
    publicMessage: `There already is a file ${path} that this operation did not make.`,
    remedy: 'Choose another name, or move that file away.',
  });
}

/** Removes the file if this plan made it. Returns words, or undefined when there was none. */
export async function removeOwn(
  host: SimulatedHost,
  path: string,
  owner: string,
): Promise<string | undefined> {
  const present = (await host.look()).files[path];
  if (present?.owner !== owner) return undefined;
  await host.change((state) => delete state.files[path]);
  return `deleted disk ${path.slice(path.lastIndexOf('/') + 1)} (simulated)`;
}
