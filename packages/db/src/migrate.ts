/**
 * Applies prisma/migrations as `prisma migrate deploy` does (whose schema engine is a download that not every machine
 * can make): same table, same checksum, same lock, so either may be used at any time.
 */
import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { OffshootError } from '@offshoot/clone-core/errors';

/** The advisory lock that Prisma's schema engine takes. */
const PRISMA_LOCK = 72_707_369;

/** As Prisma's schema engine creates it (schema-engine, `sql-schema-connector`, persistence table). */
const TABLE = `CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id                      VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum                VARCHAR(64) NOT NULL,
    finished_at             TIMESTAMPTZ,
    migration_name          VARCHAR(255) NOT NULL,
    logs                    TEXT,
    rolled_back_at          TIMESTAMPTZ,
    started_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count     INTEGER NOT NULL DEFAULT 0
)`;

interface Migration {
  name: string;
  sql: string;
  checksum: string;
}

/** Prisma's checksum of a migration: sha256 of the file's bytes, hex. */
export function migrationChecksum(file: Buffer): string {
  return createHash('sha256').update(file).digest('hex');
}

/**
 * Applies the migrations that are missing, each in a transaction of its own, and returns their names. Safe to call
 * from several processes at once. Throws `internal` when an applied migration was changed since, or one is half done.
 */
export async function migrate(url: string, options: { folder?: string } = {}): Promise<string[]> {
  const migrations = await readMigrations(
    options.folder ?? fileURLToPath(new URL('../prisma/migrations', import.meta.url)),
  );
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [PRISMA_LOCK]);
    await client.query("SET client_min_messages = 'warning'");
    await client.query(TABLE);
    const missing = await missingMigrations(client, migrations);
    for (const migration of missing) await apply(client, migration);
    return missing.map((migration) => migration.name);
  } finally {
    await client.end();
  }
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted();
  return Promise.all(
    names.map(async (name) => {
      const file = await readFile(join(folder, name, 'migration.sql'));
      return { name, sql: file.toString('utf8'), checksum: migrationChecksum(file) };
    }),
  );
}

async function missingMigrations(client: pg.Client, migrations: Migration[]): Promise<Migration[]> {
  const { rows } = await client.query<{ migration_name: string; checksum: string; finished_at: Date | null }>(
    'SELECT migration_name, checksum, finished_at FROM _prisma_migrations WHERE rolled_back_at IS NULL',
  );
  const applied = new Map(rows.map((row) => [row.migration_name, row]));
  return migrations.filter((migration) => {
    const row = applied.get(migration.name);
    if (!row) return true;
    if (row.finished_at === null) throw refuse(`Migration ${migration.name} was begun and never finished.`);
    if (row.checksum !== migration.checksum)
      throw refuse(`Migration ${migration.name} was changed after it was applied.`);
    return false;
  });
}

function refuse(what: string): OffshootError {
  return new OffshootError('internal', {
    publicMessage: `${what} The database was left as it is.`,
    remedy: 'Resolve it with `prisma migrate resolve`, or restore the database from a backup.',
  });
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  const startedAt = new Date();
  await client.query('BEGIN');
  try {
    await client.query(migration.sql);
    await client.query(
      `INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, started_at, applied_steps_count)
       VALUES ($1, $2, now(), $3, $4, 1)`,
      [randomUUID(), migration.checksum, migration.name, startedAt],
    );
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw new OffshootError('internal', {
      publicMessage: `Migration ${migration.name} failed; the database was left as it was before it.`,
      remedy: 'The log of this command has the reason.',
      cause: error,
      context: { migration: migration.name, reason: error instanceof Error ? error.message : String(error) },
    });
  }
}
