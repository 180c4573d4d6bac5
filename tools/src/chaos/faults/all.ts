import type { Fault } from './fault.ts';
import { hostFaults } from './host.ts';
import { serviceFaults } from './services.ts';
import { workerFaults } from './workers.ts';

export const faults: readonly Fault[] = [...workerFaults, ...serviceFaults, ...hostFaults];
