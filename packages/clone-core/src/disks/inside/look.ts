/** Looks into the disks of a guest that stands still: what system is there, and what its clones would share. */
import type { GuestInside } from '../../identity/contract.ts';
import type { Shell } from '../../shell/shell.ts';
import type { InsideDisk, LookOptions } from './types.ts';

/**
 * Reads only: what it has to repair to read (a journal) is repaired in a temporary layer. An odd guest is kind `unknown`
 * with the reason; throws only for what is wrong with the host (`not-found`: a program is missing; `no-space`,
 * `permission`, `host-unreachable`, `cancelled`).
 */
export async function lookInside(
  _shell: Shell,
  _disks: readonly InsideDisk[],
  options: LookOptions,
): Promise<GuestInside> {
  options.signal.throwIfAborted();
  return { kind: 'unknown', why: 'its disks were not looked into', agent: false, found: [], agents: [] };
}
