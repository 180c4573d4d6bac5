/** Transactions on the pool, retries while PostgreSQL is away, ids. Internal to this package. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from './client.ts';

export type Tx = pg.PoolClient;

/** Statements that a transaction ends with, by its connection. */
const endings = new WeakMap<Tx, string[]>();

/**
 * Has a statement without parameters sent together with the COMMIT: what it locks is held for no round trip of this process,
 * and for no write to the disk (see `transaction`). Resolves at once; it fails as the commit fails.
 */
export async function lastly(tx: Tx, statement: string): Promise<void> {
  const ending = endings.get(tx);
  // Somebody else's transaction: its end is not ours to write.
  if (ending) ending.push(statement);
  else await tx.query(statement);
}

/** The commit becomes visible, and lets its locks go, before it has reached the disk. */
const HASTILY = 'SET LOCAL synchronous_commit = off';

/**
 * Returns when all that was committed before is on the disk. All who wait share one write: the message is a commit like
 * any other, and needs none when somebody else's did it.
 */
const ON_DISK = `SELECT CASE WHEN pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() THEN pg_logical_emit_message(true, 'offshoot', '') END`;

/** Resolves when whatever anyone could have read before this call would outlive a crash of PostgreSQL. */
export async function onDisk(db: Pick<Db, 'pool'>): Promise<void> {
  await db.pool.query(ON_DISK);
}

export interface TransactionOptions {
  /** What it writes is written again soon anyway: it need not outlive a crash of PostgreSQL, and nobody waits for the disk. */
  losable?: boolean;
}

/**
 * Runs `work` in one transaction; rolls back when it throws. A connection that broke is thrown away. Resolves when all is on
 * the disk. Events lock their log until the commit is visible: with them it is visible first, then waited for together with
 * everyone else's, rather than one writer of the fleet after the other. Whoever reads events waits likewise (`onDisk`).
 */
export async function transaction<T>(
  db: Db,
  work: (tx: Tx) => Promise<T>,
  { losable = false }: TransactionOptions = {},
): Promise<T> {
  return connected(db, async (tx) => {
    const ending: string[] = [];
    endings.set(tx, ending);
    try {
      // It goes with the first statement. Should it fail, that one does too, and the connection is thrown away.
      const begun = tx.query('BEGIN');
      begun.catch(() => undefined);
      const value = await work(tx);
      await begun;
      const hasty = losable || ending.length > 0;
      await tx.query(
        [...(hasty ? [HASTILY] : []), ...ending, 'COMMIT', ...(hasty && !losable ? [ON_DISK] : [])].join(
          ';\n',
        ),
      );
      return value;
    } finally {
      endings.delete(tx);
    }
  });
}

/** One statement without parameters as a transaction that appends events, in one round trip. Otherwise as `transaction`. */
export async function statement<R extends object>(
  db: Db,
  text: string,
  options: TransactionOptions = {},
): Promise<R[]> {
  const [rows] = await statements<R>(db, [text], options);
  return rows ?? [];
}

/** As `statement`, several in one transaction and one round trip. Resolves with the rows of each. */
export async function statements<R extends object>(
  db: Db,
  texts: readonly string[],
  { losable = false }: TransactionOptions = {},
): Promise<R[][]> {
  return connected(db, async (tx) => {
    const all = ['BEGIN', HASTILY, ...texts, 'COMMIT', ...(losable ? [] : [ON_DISK])].join(';\n');
    // pg answers several statements with a list, which its types don't know.
    const results = (await tx.query(all)) as unknown as pg.QueryResult<R>[];
    return results.slice(2, 2 + texts.length).map(({ rows }) => rows);
  });
}

/** On one connection of the pool; whatever is open on it is rolled back when `work` throws. */
async function connected<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  const tx = await db.pool.connect();
  let broken: Error | undefined;
  try {
    return await work(tx);
  } catch (error) {
    try {
      await tx.query('ROLLBACK');
    } catch (rollbackError) {
      broken = rollbackError instanceof Error ? rollbackError : new Error(String(rollbackError));
    }
    throw error;
  } finally {
    tx.release(broken);
  }
}

const AWAY_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  '57P01',
  '57P02',
  '57P03',
  '08000',
  '08001',
  '08003',
  '08004',
  '08006',
  '53300',
]);

/** Whether the error says that PostgreSQL can't be reached just now, rather than that the statement is wrong. */
export function isDatabaseAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError && error.errors.some(isDatabaseAway)) return true;
  const code: unknown = 'code' in error ? error.code : undefined;
  if (typeof code === 'string' && AWAY_CODES.has(code)) return true;
  return /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|not queryable/i.test(
    error.message,
  );
}

/** Two transactions in each other's way; the statement may simply be repeated. */
function isCollision(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '40P01' || error.code === '40001');
}

export interface Patience {
  /** Milliseconds to go on trying while PostgreSQL is away. Default 60 000. */
  totalMs?: number;
  /** Gives up at once when aborted. */
  signal?: AbortSignal;
}

/**
 * Repeats `work` while PostgreSQL is away (a restart), up to about a minute, then throws `host-unreachable`
 * (retryable). `work` must be safe to repeat: a commit whose answer was lost may have happened.
 */
export async function persistently<T>(work: () => Promise<T>, patience: Patience = {}): Promise<T> {
  const giveUpAt = Date.now() + (patience.totalMs ?? 60_000);
  for (let wait = 50; ; wait = Math.min(wait * 2, 1000)) {
    try {
      return await work();
    } catch (error) {
      const collision = isCollision(error);
      if (!collision && !isDatabaseAway(error)) throw error;
      if (Date.now() + wait > giveUpAt || patience.signal?.aborted) {
        throw new OffshootError('host-unreachable', {
          publicMessage: 'Offshoot’s database does not answer.',
          remedy: 'Nothing is lost: the work goes on when the database is back.',
          retryable: true,
          cause: error,
        });
      }
      await sleep(wait, undefined, { ref: false });
    }
  }
}

/** UUID version 7 (RFC 9562): sorts by the time it was made. */
export function newId(): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(nextMillisecond(), 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

let lastMillisecond = 0;
/** Never the same twice in one process, so that ids made in one loop sort in its order. */
function nextMillisecond(): number {
  lastMillisecond = Math.max(Date.now(), lastMillisecond + 1);
  return lastMillisecond;
}
