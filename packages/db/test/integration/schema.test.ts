import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { getDMMF } from '@prisma/get-dmmf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/migrate.ts';
import { testDatabase, type TestDb } from '../support/fixtures.ts';

const root = new URL('../../', import.meta.url);
let test: TestDb;
let models: Extract<ReturnType<typeof getDMMF>, { datamodel: unknown }>['datamodel'];

beforeAll(async () => {
  test = await testDatabase();
  const datamodel = await readFile(new URL('prisma/schema.prisma', root), 'utf8');
  const dmmf = getDMMF({ datamodel });
  if (!('datamodel' in dmmf)) throw new Error('schema.prisma does not parse');
  models = dmmf.datamodel;
});
afterAll(() => test.close());

const scalar: Record<string, string> = {
  String: 'text',
  Boolean: 'boolean',
  Int: 'integer',
  BigInt: 'bigint',
  Json: 'jsonb',
};

function expectedColumns(): string[] {
  return models.models.flatMap((model) =>
    model.fields
      .filter((field) => field.kind !== 'object')
      .map((field) => {
        const native = field.nativeType?.[0];
        const base =
          native === 'Uuid'
            ? 'uuid'
            : native === 'Timestamptz'
              ? `timestamp(${field.nativeType?.[1][0]}) with time zone`
              : (scalar[field.type] ?? '?');
        const given: unknown = field.default;
        const call = typeof given === 'object' && given !== null && 'name' in given ? given.name : undefined;
        let value = '';
        if (call === 'now') value = 'CURRENT_TIMESTAMP';
        else if (call === 'autoincrement') value = `nextval('${model.dbName}_${field.name}_seq'::regclass)`;
        else if (field.hasDefaultValue && call === undefined)
          value = typeof given === 'string' ? `'${given}'::text` : String(given);
        return `${model.dbName}.${field.name} ${base}${field.isList ? '[]' : ''}${field.isRequired && !field.isList ? ' not null' : ''} ${value}`.trim();
      }),
  );
}

describe('schema.prisma and the migrations agree', () => {
  it('on columns, types, nullability and defaults', async () => {
    const { rows } = await test.db.pool.query<{ line: string }>(
      `SELECT trim(c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
         || ' ' || COALESCE(pg_get_expr(d.adbin, d.adrelid), '')) AS line
       FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
       WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> '_prisma_migrations'`,
    );
    expect(rows.map((row) => row.line).toSorted()).toEqual(expectedColumns().toSorted());
  });

  it('on indexes and uniques, with Prisma’s names', async () => {
    const { rows } = await test.db.pool.query<{ line: string }>(
      `SELECT i.relname || CASE WHEN x.indisprimary THEN ' pk' WHEN x.indisunique THEN ' unique' ELSE '' END || ' (' ||
         (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(x.indkey) WITH ORDINALITY k(att, n)
          JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.att) || ')' AS line
       FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
       WHERE t.relnamespace = 'public'::regnamespace AND t.relname <> '_prisma_migrations' AND x.indpred IS NULL`,
    );
    const tableOf = (name: string): string =>
      models.models.find((model) => model.name === name)?.dbName ?? name;
    const expected = models.indexes.map((index) => {
      const columns = index.fields.map((field) => field.name);
      const table = tableOf(index.model);
      if (index.type === 'id') return `${table}_pkey pk (${columns.join(',')})`;
      return index.type === 'unique'
        ? `${table}_${columns.join('_')}_key unique (${columns.join(',')})`
        : `${table}_${columns.join('_')}_idx (${columns.join(',')})`;
    });
    expect(rows.map((row) => row.line).toSorted()).toEqual(expected.toSorted());
  });

  it('on foreign keys and what a delete does', async () => {
    const { rows } = await test.db.pool.query<{ line: string }>(
      `SELECT conname || ' ' || pg_get_constraintdef(oid) AS line FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace`,
    );
    const actions: Record<string, string> = { Cascade: 'CASCADE', Restrict: 'RESTRICT', SetNull: 'SET NULL' };
    const quote = (name: string): string => (/^[a-z_]+$/.test(name) && name !== 'user' ? name : `"${name}"`);
    const expected = models.models.flatMap((model) =>
      model.fields.flatMap((field) => {
        const [from] = field.relationFromFields ?? [];
        if (from === undefined) return [];
        const target = models.models.find((other) => other.name === field.type)?.dbName ?? '?';
        return [
          `${model.dbName}_${from}_fkey FOREIGN KEY (${quote(from)}) REFERENCES ${quote(target)}(${field.relationToFields?.[0]}) ON UPDATE CASCADE ON DELETE ${actions[field.relationOnDelete ?? '']}`,
        ];
      }),
    );
    expect(rows.map((row) => row.line).toSorted()).toEqual(expected.toSorted());
  });
});

describe('migrate', () => {
  it('fills _prisma_migrations with Prisma’s checksum and is idempotent, also when called twice at once', async () => {
    const { db } = test;
    const { rows } = await db.pool.query<{
      migration_name: string;
      checksum: string;
      finished_at: Date | null;
      applied_steps_count: number;
    }>('SELECT * FROM _prisma_migrations ORDER BY migration_name');
    expect(rows.length).toBeGreaterThan(0);
    for (const row of rows) {
      const file = await readFile(new URL(`prisma/migrations/${row.migration_name}/migration.sql`, root));
      expect(row.checksum).toBe(createHash('sha256').update(file).digest('hex'));
      expect(row.finished_at).not.toBeNull();
      expect(row.applied_steps_count).toBe(1);
    }
    expect(await Promise.all([migrate(db.url), migrate(db.url)])).toEqual([[], []]);
  });

  it('lets one of two callers apply to an empty database', async () => {
    const other = await testDatabase();
    await other.db.pool.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    const applied = await Promise.all([migrate(other.db.url), migrate(other.db.url)]);
    const { rows } = await other.db.pool.query('SELECT 1 FROM _prisma_migrations');
    expect(applied.map((names) => names.length).toSorted((a, b) => a - b)).toEqual([0, rows.length]);
    expect(rows.length).toBeGreaterThan(1);
    await other.close();
  });

  it('refuses a migration that was changed after it was applied', async () => {
    const other = await testDatabase();
    await other.db.pool.query(`UPDATE _prisma_migrations SET checksum = 'x'`);
    await expect(migrate(other.db.url)).rejects.toThrow(/was changed after it was applied/);
    await other.close();
  });
});

describe('what Prisma can’t express', () => {
  it('allows no unknown state and no change of the event log', async () => {
    const { pool } = test.db;
    await expect(pool.query(`UPDATE "host" SET "kind" = 'other'`)).rejects.toThrow(/host_kind_check/);
    await pool.query(`INSERT INTO "event" ("data") VALUES ('{"type":"host"}')`);
    await expect(pool.query('UPDATE "event" SET "hostId" = $1', ['x'])).rejects.toThrow(/append-only/);
    await expect(pool.query('DELETE FROM "event"')).rejects.toThrow(/append-only/);
    await expect(pool.query('TRUNCATE "event"')).rejects.toThrow(/append-only/);
    const { rows } = await pool.query<{ n: string }>('SELECT offshoot_purge_events($1) AS n', [
      new Date(Date.now() + 60_000),
    ]);
    expect(Number(rows[0]?.n)).toBeGreaterThan(0);
  });
});
