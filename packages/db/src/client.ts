/** The one way to the database. Anyone may read through `prisma`; operation state is written only by this package. */
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient } from './generated/client.ts';

export interface Db {
  prisma: PrismaClient;
  pool: pg.Pool;
  url: string;
  close(): Promise<void>;
}

/**
 * Opens a pool; connects on first use. A connection attempt gives up after 5 s.
 * @param url PostgreSQL connection string; a Unix socket as `postgresql://user@/name?host=/folder`.
 */
export function openDatabase(url: string, options: { poolSize?: number } = {}): Db {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.poolSize ?? 10,
    connectionTimeoutMillis: 5000,
    keepAlive: true,
    // What is asked without waiting for the answer before (a BEGIN) goes with it, in one round trip.
    pipeline: true,
  });
  // A connection that breaks (a restart of PostgreSQL) rejects the query it is at, or its next one; idle ones the pool
  // drops. Their own error events carry nothing more, but without a listener they would end the process.
  pool.on('connect', (client) => client.on('error', () => undefined));
  pool.on('error', () => undefined);
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool) });
  return {
    prisma,
    pool,
    url,
    async close() {
      await prisma.$disconnect();
      if (!pool.ended) await pool.end();
    },
  };
}
