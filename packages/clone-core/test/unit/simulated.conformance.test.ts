import { makeSimulatedRig } from '../conformance/simulated.rig.ts';
import { conformance } from '../conformance/suite.ts';

conformance('simulated', makeSimulatedRig);
