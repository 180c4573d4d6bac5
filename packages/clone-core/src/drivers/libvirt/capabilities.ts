/** Mode × state of the source: a lookup. */
import type { CapabilityTable } from '../../driver.ts';

/** A paused guest is copied by the same backup job as a running one; nothing in it can be frozen, so crash-consistent. */
export const capabilities: CapabilityTable = {
  full: { stopped: true, running: true, paused: true, template: true },
  linked: { stopped: true, running: true, paused: true, template: true },
};
