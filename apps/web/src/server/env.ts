import { resolve } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';

const place = z.string().regex(/^(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\]):\d{1,5}$/i, 'must be name:port');

const schema = z.object({
  DATABASE_URL: z.string().min(1),
  REDIS_URL: z.string().min(1),
  BETTER_AUTH_SECRET: z.string().min(32, 'must have at least 32 characters'),
  /** Where people open the portal, when that is not simply the host name they typed: "https://offshoot.example.org". */
  OFFSHOOT_URL: z.url().optional(),
  BETTER_AUTH_URL: z.url().optional(),
  /** Ed25519 private key (PKCS #8) that signs certificates: PEM, or base64 of it. */
  OFFSHOOT_IDENTITY_KEY: z.string().min(1).optional(),
  /** What secrets for Windows guests are sealed with; the workers need the same. */
  OFFSHOOT_SEAL_SECRET: z.string().min(32, 'must have at least 32 characters').optional(),
  /** Where workers on other machines reach PostgreSQL and Redis, over TLS: "name:port". Unset: none can join. */
  OFFSHOOT_FLEET_POSTGRES: place.optional(),
  OFFSHOOT_FLEET_REDIS: place.optional(),
  /** File with the authority that signed their certificates, PEM. Unset: one that the machines trust already. */
  OFFSHOOT_FLEET_CA: z.string().startsWith('/', 'must be an absolute path').optional(),
  /** Image that joining machines boot to see whether KVM works there. */
  OFFSHOOT_SAMPLE_IMAGE: z.string().startsWith('/', 'must be an absolute path').optional(),
  /** The worker that joining machines download, one file. */
  OFFSHOOT_WORKER_FILE: z.string().startsWith('/', 'must be an absolute path').optional(),
});

export interface Env {
  databaseUrl: string;
  redisUrl: string;
  authSecret: string;
  /** Public origin, if one was configured. */
  publicUrl: string | undefined;
  /** PEM; undefined: certificates stay unsigned. */
  identityKey: string | undefined;
  /** Undefined: no secret can be given to a guest. */
  sealSecret: string | undefined;
  /** Undefined: only this machine's worker. */
  fleet: { postgres: string; redis: string; ca: string | undefined } | undefined;
  workerFile: string;
  sampleImage: string | undefined;
}

let cached: Env | undefined;

/**
 * The web's settings, read at the first request: a build needs none of them.
 * Throws `invalid-input` naming every variable that is missing or wrong.
 */
export function env(): Env {
  if (cached) return cached;
  const parsed = schema.safeParse(process.env);
  if (!parsed.success) {
    const wrong = parsed.error.issues.map((issue) => `${issue.path.join('.')} (${issue.message})`).join(', ');
    throw new OffshootError('invalid-input', {
      publicMessage: 'The portal is not configured.',
      remedy: `Set these environment variables and start it again: ${wrong}.`,
    });
  }
  const { DATABASE_URL, REDIS_URL, BETTER_AUTH_SECRET, OFFSHOOT_URL, BETTER_AUTH_URL } = parsed.data;
  const { OFFSHOOT_IDENTITY_KEY, OFFSHOOT_SEAL_SECRET } = parsed.data;
  cached = {
    databaseUrl: DATABASE_URL,
    redisUrl: REDIS_URL,
    authSecret: BETTER_AUTH_SECRET,
    publicUrl: OFFSHOOT_URL ?? BETTER_AUTH_URL,
    identityKey: OFFSHOOT_IDENTITY_KEY === undefined ? undefined : pemOf(OFFSHOOT_IDENTITY_KEY),
    sealSecret: OFFSHOOT_SEAL_SECRET,
    fleet: fleetOf(parsed.data),
    sampleImage: parsed.data.OFFSHOOT_SAMPLE_IMAGE,
    // The web runs in its own folder or in the repository's.
    workerFile:
      parsed.data.OFFSHOOT_WORKER_FILE ??
      resolve(
        process.cwd(),
        process.cwd().endsWith('/web') ? '../worker' : 'apps/worker',
        'dist/offshoot-worker.mjs',
      ),
  };
  return cached;
}

function fleetOf({
  OFFSHOOT_FLEET_POSTGRES: postgres,
  OFFSHOOT_FLEET_REDIS: redis,
  OFFSHOOT_FLEET_CA: ca,
}: z.output<typeof schema>): Env['fleet'] {
  return postgres === undefined || redis === undefined ? undefined : { postgres, redis, ca };
}

/** An .env file holds one line a value: there a key is base64 of its PEM. */
const pemOf = (text: string): string =>
  text.startsWith('-----BEGIN') ? text : Buffer.from(text, 'base64').toString('utf8');
