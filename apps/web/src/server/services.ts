/** What the web process holds open: one pool, one Redis connection, one LISTEN connection, however many people look. */
import { openDatabase, type Db } from '@offshoot/db/client';
import { openEventHub, type EventHub } from '@offshoot/db/events';
import { activeWorkers } from '@offshoot/db/workers';
import { openAccess, type Access } from '@offshoot/queue/access';
import { openQueues, type Queues } from '@offshoot/queue/jobs';
import { env } from './env.ts';
import { log } from './log.ts';

interface Services {
  db?: Db;
  queues?: Queues;
  hub?: Promise<EventHub>;
  access?: Access;
}

// Route handlers and server components are bundled apart; globalThis is what they share.
const holder = globalThis as typeof globalThis & { offshootServices?: Services };
const services = (): Services => (holder.offshootServices ??= {});

/** The database, opened at first use. */
export const db = (): Db => (services().db ??= openDatabase(env().databaseUrl));

/** The queues, opened at first use. */
export const queues = (): Queues => (services().queues ??= openQueues(env().redisUrl));

/** The hand on who may use Redis. From its opening on, a Redis that has forgotten the workers is told again. */
export const access = (): Access =>
  (services().access ??= openAccess(
    env().redisUrl,
    () => activeWorkers(db()),
    (error) => log.warn({ err: error }, 'Redis could not be told which workers may use it'),
  ));

/** The event hub; a failed opening is forgotten so that the next caller tries again. */
export function hub(): Promise<EventHub> {
  const held = services();
  if (held.hub) return held.hub;
  const opening = openEventHub(db()).catch((error: unknown) => {
    delete held.hub;
    throw error;
  });
  held.hub = opening;
  return opening;
}

/** Closes whatever was opened. For tests and command-line tools; the server itself runs until it is ended. */
export async function closeServices(): Promise<void> {
  const held = services();
  delete holder.offshootServices;
  const opened = await Promise.allSettled([held.hub]);
  const hubResult = opened[0];
  if (hubResult?.status === 'fulfilled' && hubResult.value) await hubResult.value.close();
  held.access?.close();
  await held.queues?.close();
  await held.db?.close();
}
