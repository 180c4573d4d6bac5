/** Work for all hosts together, which any one worker does now and then. */
import type { Db } from './client.ts';

/** Whether it is this caller's turn: true for one of all who ask within `seconds`. */
export async function isDue(db: Db, name: string, seconds: number): Promise<boolean> {
  const { rows } = await db.pool.query<{ due: boolean }>('SELECT offshoot_is_due($1, $2) AS due', [
    name,
    seconds,
  ]);
  return rows[0]?.due === true;
}

/** Folds samples of hosts that are older than an hour into spans of 5 minutes, and drops those older than a day. */
export async function thinSamples(db: Db): Promise<void> {
  await db.pool.query('SELECT offshoot_thin_samples()');
}
