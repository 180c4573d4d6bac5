/**
 * The one suite every driver passes: call `conformance('libvirt', makeRig)` in a test file.
 * Cases share one stopped source; each leaves the host as it was, except for running sources of its own.
 */
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { baseCases } from './cases/base.ts';
import { cloneCases } from './cases/clone.ts';
import { crashCases } from './cases/crash.ts';
import { planCases } from './cases/plan.ts';
import { powerCases } from './cases/power.ts';
import { refusalCases } from './cases/refusal.ts';
import { verifyCases } from './cases/verify.ts';
import type { GuestRef } from '../../src/driver.ts';
import type { ConformanceRig, MakeRig } from './rig.ts';
import { cloneOf, destroyClone, make } from './workbench.ts';

export type { ConformanceRig, Definition, HostLook, MakeRig } from './rig.ts';

/** What the cases share: made before the first of them. */
export interface Stage {
  rig: ConformanceRig;
  /** A stopped guest that no case may change. */
  source: GuestRef;
}

/** Longest a case may take on a real host, milliseconds: crash cases run a plan dozens of times. */
const CASE_MS = 240_000;

/** Declares all conformance cases for one driver. */
export function conformance(name: string, makeRig: MakeRig): void {
  describe(`conformance: ${name}`, { timeout: CASE_MS }, () => {
    let stage: Stage | undefined;
    let untouched: unknown;
    const ready = (): Stage => {
      if (!stage) throw new Error('the rig was not made');
      return stage;
    };
    const sourceNow = async ({ rig, source }: Stage): Promise<unknown> => ({
      content: await rig.content(source.name),
      definition: await rig.definition(source.name),
      running: await rig.isRunning(source.name),
    });

    beforeAll(async () => {
      const rig = await makeRig();
      try {
        stage = { rig, source: await rig.makeSource({ name: 'source', running: false }) };
        untouched = await sourceNow(stage);
        // Once through, so that folders which a driver makes once are there before cases compare the host.
        const { plan } = await make(rig, cloneOf(stage.source, 'first'), 'first');
        await destroyClone(rig, plan);
      } catch (thrown) {
        if (!stage) await rig.destroy();
        throw thrown;
      }
    }, CASE_MS);
    afterEach(async () => {
      expect(await sourceNow(ready())).toEqual(untouched);
      expect(await ready().rig.processes()).toBe(0);
    });
    afterAll(async () => stage?.rig.destroy(), CASE_MS);

    describe('inspect and plan', () => planCases(ready));
    describe('clone', () => cloneCases(ready));
    describe('bases', () => baseCases(ready));
    describe('verify', () => verifyCases(ready));
    describe('start, stop, delete', () => powerCases(ready));
    describe('refusals', () => refusalCases(ready));
    describe('crash, resume, undo, cancel', () => crashCases(ready));
  });
}
