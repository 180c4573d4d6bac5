import { OffshootError } from '@offshoot/clone-core/errors';
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';

/** Where a Redis is and how to sign in to it. */
export interface RedisTarget {
  host?: string;
  port?: number;
  db?: number;
  path?: string;
  username?: string;
  password?: string;
  tls?: object;
}

/** Milliseconds a command of a person's request may wait for Redis. */
export const COMMAND_TIMEOUT_MS = 2000;

/**
 * Options for one connection of a Redis URL: `redis://[:password@]host:port[/db]`, `rediss://…`, or
 * `unix:///path/to.sock[?user=…&password=…]`. With `?ca=/file.pem` only a server whose certificate that authority signed is
 * talked to.
 */
export function redisOptions(url: string): RedisTarget {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw new OffshootError('invalid-input', {
      publicMessage: 'REDIS_URL is not an address.',
      remedy: 'Set it to redis://host:port or unix:///path/to.sock.',
      field: 'REDIS_URL',
      cause,
    });
  }
  const password = decodeURIComponent(parsed.password) || parsed.searchParams.get('password') || undefined;
  const username = decodeURIComponent(parsed.username) || parsed.searchParams.get('user') || undefined;
  const ca = parsed.searchParams.get('ca');
  const credentials = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
  if (parsed.protocol === 'unix:') return { path: decodeURIComponent(parsed.pathname), ...credentials };
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    throw new OffshootError('invalid-input', {
      publicMessage: `REDIS_URL begins with ${parsed.protocol}// , which is not Redis.`,
      remedy: 'Set it to redis://host:port or unix:///path/to.sock.',
      field: 'REDIS_URL',
    });
  }
  const db = parsed.pathname.length > 1 ? Number(parsed.pathname.slice(1)) : 0;
  return {
    host: parsed.hostname || '127.0.0.1',
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    db,
    ...credentials,
    ...(parsed.protocol === 'rediss:' ? { tls: ca === null ? {} : { ca: readFileSync(ca, 'utf8') } } : {}),
  };
}

/** A connection for requests: fails within two seconds rather than hang. Reconnects for ever in the background. */
export function impatientRedis(url: string): Redis {
  const redis = new Redis({
    ...redisOptions(url),
    maxRetriesPerRequest: 1,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: COMMAND_TIMEOUT_MS,
    retryStrategy: (times: number) => Math.min(50 * times, 1000),
  });
  return redis;
}

/** A connection for workers: waits out a restart of Redis (BullMQ needs `maxRetriesPerRequest: null`). */
export function patientRedis(url: string): Redis {
  return new Redis({
    ...redisOptions(url),
    maxRetriesPerRequest: null,
    retryStrategy: (times: number) => Math.min(50 * times, 1000),
  });
}

/** What a request is told when Redis does not answer. */
export function queueAway(cause: unknown): OffshootError {
  return new OffshootError('host-unreachable', {
    publicMessage: 'Offshoot’s queue (Redis) does not answer.',
    remedy: 'Try again in a moment; what was already accepted is not lost.',
    retryable: true,
    cause,
  });
}
