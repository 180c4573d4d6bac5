/** What a portal holds besides hosts and guests when it has been used for months: templates on many hosts, ended operations. */
import type { Db } from '@offshoot/db/client';

const TEMPLATES = 40;
const VERSIONS = 3;
/** Hosts that hold a copy of a version. */
const COPIES = 12;
const ENDED = 20_000;

/**
 * Writes it straight into the tables, before anything runs: none of it is measured by how it came to be. The hosts' rows are
 * filled by their workers.
 */
export async function writeHistory(db: Db, hostIds: readonly string[]): Promise<string> {
  const { pool } = db;
  await pool.query(
    `INSERT INTO "host" ("id", "name", "kind", "simulated") SELECT h, h, 'simulated', true FROM unnest($1::text[]) h`,
    [hostIds],
  );
  await pool.query(
    `INSERT INTO "base" ("id", "hostId", "digest", "definition", "disks", "virtualBytes", "allocatedBytes", "createdAt")
     SELECT gen_random_uuid(), ($1::text[])[1 + (t * 37 + v * 11 + c * 41) % $2], md5(t || '/' || v) || md5(v || '/' || t), '<domain>' || repeat('x', 4000) || '</domain>',
       jsonb_build_array(jsonb_build_object('target', 'vda', 'path', '/simulated/bases/' || t || '-' || v, 'format', 'qcow2', 'digest', md5(t || '.' || v),
         'virtualBytes', 17179869184, 'allocatedBytes', 2147483648)),
       17179869184, 2147483648 + t * 1048576, now() - make_interval(days => $3 - t)
     FROM generate_series(1, $3) t, generate_series(1, $4) v, generate_series(0, $5 - 1) c ON CONFLICT DO NOTHING`,
    [hostIds, hostIds.length, TEMPLATES, VERSIONS, COPIES],
  );
  await pool.query(
    `INSERT INTO "template" ("id", "name", "description", "osName") SELECT gen_random_uuid(), 'image-' || lpad(t::text, 2, '0'), 'Simulated', 'Linux' FROM generate_series(1, $1) t`,
    [TEMPLATES],
  );
  await pool.query(
    `INSERT INTO "template_version" ("id", "templateId", "number", "baseId")
     SELECT gen_random_uuid(), t."id", v, (SELECT b."id" FROM "base" b WHERE b."digest" = md5(right(t."name", 2)::int || '/' || v) || md5(v || '/' || right(t."name", 2)::int) ORDER BY b."id" LIMIT 1)
     FROM "template" t, generate_series(1, $1) v`,
    [VERSIONS],
  );
  const steps = JSON.stringify(
    ['copy', 'define', 'start', 'wait-agent'].map(() => ({
      state: 'done',
      startedAt: '2026-11-01T10:00:00.000Z',
      endedAt: '2026-11-01T10:00:02.000Z',
    })),
  );
  const plan = JSON.stringify({
    version: 1,
    driver: 'simulated',
    kind: 'clone',
    summary: 'Full clone (simulated)',
    estimates: { readBytes: 2e9, moveBytes: 2e9, storeBytes: 2e9, seconds: 14 },
    notes: [{ level: 'info', text: 'Simulated: nothing real happens.' }],
    steps: ['copy', 'define', 'start', 'wait-agent'].map((kind, index) => ({
      id: `${index}-${kind}`,
      kind,
      title: kind,
      bytes: 2e9,
      definition: 'x'.repeat(300),
    })),
    creates: [],
    fingerprint: 'bench',
  });
  const request = JSON.stringify({
    kind: 'clone',
    source: { type: 'guest', id: '01900000-0000-7000-8000-000000000000' },
    mode: 'full',
    name: 'gone',
    options: {},
  });
  await pool.query(
    `WITH made AS (
       INSERT INTO "operation" ("id", "kind", "state", "hostId", "lane", "title", "batchId", "request", "plan", "steps", "nextStep", "result", "createdAt", "startedAt", "finishedAt")
       SELECT gen_random_uuid(), 'clone', CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'finished' END, ($1::text[])[1 + n % $2], 'bulk', 'gone-' || n, gen_random_uuid(),
         $4::jsonb, $5::jsonb, $6::jsonb, 4, '{}', at, at, at + interval '12 seconds'
       FROM generate_series(1, $3) n, LATERAL (SELECT now() - make_interval(mins => $3 - n + 10) AS at) a RETURNING "id", "hostId", "createdAt")
     INSERT INTO "event" ("at", "operationId", "hostId", "data")
     SELECT m."createdAt", m."id", m."hostId", jsonb_build_object('type', 'state', 'state', s) FROM made m, unnest(ARRAY['queued', 'running', 'finished']) s`,
    [hostIds, hostIds.length, ENDED, request, plan, steps],
  );
  await pool.query('ANALYZE');
  return `${TEMPLATES} templates of ${VERSIONS} versions on ${COPIES} hosts each, ${ENDED} ended operations`;
}
