/** Mode × state of the source: a lookup. */
import type { CapabilityTable } from '../../driver.ts';

/** A paused guest is copied by the same backup job as a running one; nothing in it can be frozen, so crash-consistent. */
export const capabilities: CapabilityTable = {
  full: { stopped: true, running: true, paused: true, template: true },
  linked: { stopped: true, running: true, paused: true, template: true },
  memory: {
    stopped: {
      why: 'The source is stopped: there is no memory to go on from.',
      remedy: 'Start it first, or make a linked clone, which boots.',
    },
    running: true,
    paused: {
      why: 'The source is paused, so its agent can’t be asked for anything.',
      remedy: 'Resume it first, or make a linked clone, which boots.',
    },
    template: true,
  },
};
