import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';

const schema = z.object({
  DATABASE_URL: z.string().min(1),
  REDIS_URL: z.string().min(1),
  BETTER_AUTH_SECRET: z.string().min(32, 'must have at least 32 characters'),
  /** Where people open the portal, when that is not simply the host name they typed: "https://offshoot.example.org". */
  OFFSHOOT_URL: z.url().optional(),
  BETTER_AUTH_URL: z.url().optional(),
});

export interface Env {
  databaseUrl: string;
  redisUrl: string;
  authSecret: string;
  /** Public origin, if one was configured. */
  publicUrl: string | undefined;
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
  cached = {
    databaseUrl: DATABASE_URL,
    redisUrl: REDIS_URL,
    authSecret: BETTER_AUTH_SECRET,
    publicUrl: OFFSHOOT_URL ?? BETTER_AUTH_URL,
  };
  return cached;
}
