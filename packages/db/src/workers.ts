/**
 * Workers' credentials. Each signs in to PostgreSQL with a role of its own; row-level security (migration
 * worker_credentials) binds it to its host's rows. The same name and password are its user in Redis.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import type { HypervisorKind } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import pg from 'pg';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { newId, transaction, type Tx } from './transaction.ts';

/** What workers may do at all; which rows, the policies say. */
const GRANTS: Readonly<Record<string, string>> = {
  host: 'SELECT, INSERT, UPDATE',
  operation: 'SELECT, INSERT, UPDATE',
  guest: 'SELECT, INSERT, UPDATE, DELETE',
  base: 'SELECT, INSERT, UPDATE, DELETE',
  template: 'SELECT, INSERT, UPDATE, DELETE',
  template_version: 'SELECT, INSERT, UPDATE, DELETE',
  certificate: 'SELECT, INSERT',
  event: 'INSERT',
};

export interface WorkerCredential {
  id: string;
  /** Its name in PostgreSQL and in Redis. */
  role: string;
  password: string;
  hostId: string;
  /** sha256 of the password, hex: how Redis is told of it. */
  queueHash: string;
}

export interface NewWorker {
  hostId: string;
  hostName: string;
  kind: HypervisorKind;
  /** sha256 of the machine's own id; null: it has none. */
  machine: string | null;
  /** How it reaches its host; left out: it runs there. */
  via?: { target: string; hostKey: string };
}

/** A worker that may work now. */
export type ActiveWorker = Pick<WorkerCredential, 'id' | 'role' | 'hostId' | 'queueHash'>;

/**
 * Makes a credential for one host, whose row is added when it is not there. @throws OffshootError `in-use` when another
 * worker serves the host or the machine is another host already, `permission` when the portal's role may make no roles.
 */
export async function admitWorker(db: Db, worker: NewWorker): Promise<WorkerCredential> {
  const password = randomBytes(32).toString('hex');
  return transaction(db, async (tx) => {
    await refuseWithoutRoles(tx);
    // Roles and grants belong to the whole server: two at once would be in each other's way.
    await tx.query('SELECT pg_advisory_xact_lock(7067466)');
    await refuseTwice(tx, worker);
    const group = await grantToWorkers(tx);
    const credential: WorkerCredential = {
      id: newId(),
      role: `${group.slice(0, -'workers'.length)}${randomBytes(6).toString('hex')}`,
      password,
      hostId: worker.hostId,
      queueHash: createHash('sha256').update(password).digest('hex'),
    };
    const role = pg.escapeIdentifier(credential.role);
    await tx.query(
      `CREATE ROLE ${role} LOGIN IN ROLE ${pg.escapeIdentifier(group)} PASSWORD ${pg.escapeLiteral(scramVerifier(password))}`,
    );
    // Only who has a role's privileges may end its sessions.
    await tx.query(
      `DO $$ BEGIN IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE format('GRANT %I TO CURRENT_USER', ${pg.escapeLiteral(credential.role)}); END IF; END $$`,
    );
    await tx.query(
      `INSERT INTO "host" ("id", "name", "kind") VALUES ($1, $2, $3) ON CONFLICT ("id") DO UPDATE SET "name" = EXCLUDED."name"`,
      [worker.hostId, worker.hostName, worker.kind],
    );
    await tx.query(
      `INSERT INTO "worker" ("id", "role", "hostId", "machine", "queueHash", "via", "joinedAt") VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())`,
      [
        credential.id,
        credential.role,
        worker.hostId,
        worker.machine,
        credential.queueHash,
        worker.via === undefined ? null : JSON.stringify(worker.via),
      ],
    );
    await appendEvents(tx, [{ hostId: worker.hostId, data: { type: 'host' } }]);
    return credential;
  });
}

/**
 * Ends a host's credentials: nobody signs in with them any more, open sessions are ended, and other hosts' workers don't
 * let it in. Resolves with their names, for Redis to be told. Safe to repeat. What the worker may itself have locked is
 * not waited for before its sessions are ended.
 */
export async function revokeWorkers(db: Db, hostId: string): Promise<string[]> {
  const { rows } = await db.pool.query<{ role: string }>(
    `UPDATE "worker" SET "revokedAt" = COALESCE("revokedAt", clock_timestamp()) WHERE "hostId" = $1 RETURNING "role"`,
    [hostId],
  );
  if (rows.length === 0) return [];
  // From here on no policy lets them see or change a row.
  const roles = rows.map(({ role }) => role);
  await endSessions(db, roles);
  for (const role of await existing(db.pool, roles, 'AND rolcanlogin'))
    await db.pool.query(`ALTER ROLE ${pg.escapeIdentifier(role)} NOLOGIN`);
  // From here on nobody signs in anew, so none is missed.
  await endSessions(db, roles);
  await transaction(db, async (tx) => {
    await tx.query('SELECT pg_advisory_xact_lock(7067466)');
    for (const role of await existing(tx, roles)) {
      const name = pg.escapeIdentifier(role);
      await tx.query(`DROP OWNED BY ${name}`);
      await tx.query(`DROP ROLE ${name}`);
    }
    await tx.query('UPDATE "host" SET "problem" = $2, "peer" = NULL WHERE "id" = $1', [
      hostId,
      'Its worker’s credential was revoked. Join the host again to use it.',
    ]);
    await appendEvents(tx, [{ hostId, data: { type: 'host' } }]);
  });
  return roles;
}

/** Milliseconds until a session that was told to end is not waited for any more. */
const SESSION_ENDS_MS = 2000;

const endSessions = (db: Db, roles: readonly string[]): Promise<unknown> =>
  db.pool.query(
    'SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity WHERE usename = ANY($1::text[])',
    [roles, SESSION_ENDS_MS],
  );

async function existing(db: Pick<Tx, 'query'>, roles: readonly string[], only = ''): Promise<string[]> {
  const { rows } = await db.query<{ rolname: string }>(
    `SELECT rolname FROM pg_roles WHERE rolname = ANY($1::text[]) ${only}`,
    [roles],
  );
  return rows.map(({ rolname }) => rolname);
}

/** Who may work now: what Redis is told when it has forgotten. */
export async function activeWorkers(db: Db): Promise<ActiveWorker[]> {
  const { rows } = await db.pool.query<ActiveWorker>(
    'SELECT "id", "role", "hostId", "queueHash" FROM "worker" WHERE "revokedAt" IS NULL ORDER BY "id"',
  );
  return rows;
}

/** Brings what workers may do in line with this version, when there are any. At the portal's start, after migrations. */
export async function renewWorkerGrants(db: Db): Promise<void> {
  if ((await activeWorkers(db)).length === 0) return;
  await transaction(db, async (tx) => {
    await tx.query('SELECT pg_advisory_xact_lock(7067466)');
    await grantToWorkers(tx);
  });
}

/** The group that all workers of this database are in; resolves with its name. */
async function grantToWorkers(tx: Tx): Promise<string> {
  const { rows } = await tx.query<{ group: string; exists: boolean }>(
    `SELECT 'offshoot_' || d.oid || '_workers' AS group, EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolname = 'offshoot_' || d.oid || '_workers') AS exists
     FROM pg_database d WHERE d.datname = current_database()`,
  );
  const [found] = rows;
  if (!found) throw new Error('the current database is not in pg_database');
  const group = pg.escapeIdentifier(found.group);
  if (!found.exists) await tx.query(`CREATE ROLE ${group} NOLOGIN`);
  await tx.query(`GRANT USAGE ON SCHEMA public TO ${group}`);
  for (const [table, privileges] of Object.entries(GRANTS))
    await tx.query(`GRANT ${privileges} ON TABLE ${pg.escapeIdentifier(table)} TO ${group}`);
  await tx.query(`GRANT USAGE ON SEQUENCE "event_id_seq" TO ${group}`);
  return found.group;
}

async function refuseWithoutRoles(tx: Tx): Promise<void> {
  const { rows } = await tx.query<{ may: boolean; name: string }>(
    'SELECT rolcreaterole OR rolsuper AS may, rolname AS name FROM pg_roles WHERE rolname = current_user',
  );
  const [account] = rows;
  if (account?.may === true) return;
  const name = account?.name ?? 'of DATABASE_URL';
  throw new OffshootError('permission', {
    publicMessage: `No host can join: the PostgreSQL account ${name} of DATABASE_URL may not make the accounts that workers sign in with.`,
    remedy: `Have an administrator of that PostgreSQL run: ALTER ROLE ${pg.escapeIdentifier(name)} CREATEROLE`,
  });
}

async function refuseTwice(tx: Tx, worker: NewWorker): Promise<void> {
  const { rows } = await tx.query<{ hostId: string; name: string }>(
    `SELECT w."hostId", h."name" FROM "worker" w JOIN "host" h ON h."id" = w."hostId"
     WHERE w."revokedAt" IS NULL AND (w."hostId" = $1 OR w."machine" = $2) ORDER BY w."hostId" = $1 DESC`,
    [worker.hostId, worker.machine],
  );
  const [other] = rows;
  if (!other) return;
  throw new OffshootError('in-use', {
    publicMessage:
      other.hostId === worker.hostId
        ? `“${other.name}” is served by a worker that joined before, and a host has one worker.`
        : `This machine is the host “${other.name}” of the portal already; it can’t be “${worker.hostName}” too.`,
    remedy: `If that worker is no more, choose “Revoke” on the page of “${other.name}”, then join again.`,
    field: 'name',
  });
}

/** As PostgreSQL stores it (RFC 5803), so that the password itself is in none of its logs. Hex needs no SASLprep. */
function scramVerifier(password: string): string {
  const salt = randomBytes(16);
  const iterations = 4096;
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const keyed = (text: string): Buffer => createHmac('sha256', salted).update(text).digest();
  const stored = createHash('sha256').update(keyed('Client Key')).digest('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${keyed('Server Key').toString('base64')}`;
}
