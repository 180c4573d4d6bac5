/** Workers' users in Redis: each sees the queues of its own host. Redis forgets them; the portal tells it again. */
import { lanes, queueName } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { impatientRedis, queueAway } from './connection.ts';
import { previewQueueName } from './jobs.ts';

export interface QueueUser {
  /** Its name in Redis. */
  role: string;
  hostId: string;
  /** sha256 of its password, hex. */
  queueHash: string;
}

export interface Access {
  /** Lets these in, with no more than their own host's queues. Rejects `permission`, `host-unreachable`. */
  admit(users: readonly QueueUser[]): Promise<void>;
  /** They sign in no more, and their connections are closed. Rejects as `admit`. */
  expel(roles: readonly string[]): Promise<void>;
  close(): void;
}

/** BullMQ keeps all of a queue under this prefix. */
const patterns = (hostId: string): string[] =>
  [...lanes.map((lane) => queueName(hostId, lane)), previewQueueName(hostId)].map(
    (name) => `~bull:${name}:*`,
  );

/** What works on keys, which the patterns bound, and what BullMQ's connections say of themselves; nothing that names others' keys. */
const COMMANDS = (
  '-@all +@read +@write +@blocking +@scripting +@connection +@transaction -@dangerous ' +
  '-script -function -client -scan -randomkey -dbsize +info +time +client|setname +client|id'
).split(' ');

/**
 * Opens the portal's hand on who may use Redis. `known` is asked for whenever a connection begins, also after a restart of
 * Redis, which has forgotten everybody then.
 */
export function openAccess(
  redisUrl: string,
  known: () => Promise<readonly QueueUser[]>,
  onError: (error: unknown) => void,
): Access {
  const redis = impatientRedis(redisUrl);
  const run = async (args: readonly string[]): Promise<void> => {
    try {
      await redis.call('ACL', ...args);
    } catch (cause) {
      throw refusal(cause);
    }
  };
  const admit = async (users: readonly QueueUser[]): Promise<void> => {
    for (const { role, hostId, queueHash } of users)
      await run([
        'SETUSER',
        role,
        'reset',
        'on',
        `#${queueHash}`,
        'resetchannels',
        ...patterns(hostId),
        ...COMMANDS,
      ]);
  };
  redis.on('error', () => undefined); // each command says when Redis is away
  redis.on('ready', () => {
    known().then(admit).catch(onError);
  });
  return {
    admit,
    async expel(roles) {
      // Deleting a user closes its connections.
      if (roles.length > 0) await run(['DELUSER', ...roles]);
    },
    close: () => redis.disconnect(),
  };
}

function refusal(cause: unknown): OffshootError {
  const said = cause instanceof Error ? cause.message : String(cause);
  if (/^(?:NOPERM|ERR unknown command)/.test(said))
    return new OffshootError('permission', {
      publicMessage:
        'No host can join: the Redis account of REDIS_URL may not make the users that workers sign in with.',
      remedy: 'Give REDIS_URL an account that may use the ACL command (Redis 6 or newer).',
      cause,
    });
  return queueAway(cause);
}
