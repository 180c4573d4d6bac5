/** What the dialog for a new host shows. */
import type { JoinToken } from '@offshoot/db/joining';
import { env } from '../env.ts';
import { requestOrigin } from '../origin.ts';
import { workerProgram } from './program.ts';
import { fleetSettings } from './settings.ts';

export interface Invitation {
  hostId: string;
  /** Shown once. */
  token: string;
  expiresAt: string;
  /** Origin at which other machines reach this portal. */
  portal: string;
  /** sha256 of the worker's program, hex. */
  digest: string;
}

/** Asks for the token last: one that nobody can use is not made. Throws as `fleetSettings` and `workerProgram`. */
export async function invitation(headers: Headers, make: () => Promise<JoinToken>): Promise<Invitation> {
  const fleet = await fleetSettings();
  const { digest } = await workerProgram();
  const { hostId, secret, expiresAt } = await make();
  return {
    hostId,
    token: `${secret}.${fleet.fingerprint}`,
    expiresAt: expiresAt.toISOString(),
    portal: originFor(headers, fleet.postgres.host),
    digest,
  };
}

/** The configured address; else the one that this browser uses, unless only this machine knows that. */
function originFor(headers: Headers, fleetHost: string): string {
  const { publicUrl } = env();
  if (publicUrl !== undefined) return new URL(publicUrl).origin;
  const url = new URL(requestOrigin(headers, 'http://localhost') ?? 'http://localhost');
  if (/^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname))
    url.hostname = fleetHost.includes(':') ? `[${fleetHost}]` : fleetHost;
  return url.origin;
}
