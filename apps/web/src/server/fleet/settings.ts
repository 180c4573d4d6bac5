/** Where other machines' workers reach this portal's PostgreSQL and Redis, and whom they then trust. */
import { readFile } from 'node:fs/promises';
import { authorityFingerprint } from '@offshoot/clone-core/joining/sealed';
import { OffshootError } from '@offshoot/clone-core/errors';
import { env } from '../env.ts';

interface Place {
  host: string;
  port: number;
}

export interface FleetSettings {
  postgres: Place & { database: string };
  redis: Place;
  /** PEM; undefined: an authority that the machines trust already. */
  ca: string | undefined;
  fingerprint: string;
}

/** @throws OffshootError `unavailable-mode` when this portal serves its own machine only. */
export async function fleetSettings(): Promise<FleetSettings> {
  const { fleet, databaseUrl } = env();
  if (!fleet)
    throw new OffshootError('unavailable-mode', {
      publicMessage: 'This portal listens on its own machine only, so no other machine can join.',
      remedy:
        'Start it with OFFSHOOT_FLEET_ADDRESS set to the name or address at which your hypervisors reach it. Then add the host.',
    });
  const ca = fleet.ca === undefined ? undefined : await readFile(fleet.ca, 'utf8');
  return {
    postgres: {
      ...place(fleet.postgres),
      database: decodeURIComponent(new URL(databaseUrl).pathname.slice(1)),
    },
    redis: place(fleet.redis),
    ca,
    fingerprint: authorityFingerprint(ca),
  };
}

/** "name:1234" or "[::1]:1234" */
function place(text: string): Place {
  const { hostname, port } = new URL(`tcp://${text}`);
  return { host: hostname.replaceAll(/^\[|\]$/g, ''), port: Number(port) };
}
