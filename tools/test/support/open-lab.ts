/** Begins a lab and says so with its first host: a test kills this process then. */
import { openFleet } from '../../src/fleet-lab/fleet.ts';

await openFleet({ hosts: 2, id: process.argv[2] ?? '', say: (line) => process.stdout.write(`${line}\n`) });
