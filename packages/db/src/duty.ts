/** Whether hosts are asked for work. */
import type { OperationKind } from '@offshoot/clone-core/contract';
import type { Duty } from '@offshoot/clone-core/contract/joining';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { transaction, type Tx } from './transaction.ts';

/** What may be asked of a host that is being emptied: it takes something away from there. */
const EMPTIES: ReadonlySet<OperationKind> = new Set([
  'migrate',
  'stop',
  'delete',
  'remove-base',
  'remove-snapshot',
]);

/**
 * serving: asked for work. draining: asked for nothing new, finishes what it was asked for. maintenance: begins nothing
 * either; what waits, waits. @throws OffshootError `not-found`.
 */
export function setDuty(db: Db, hostId: string, duty: Duty): Promise<void> {
  return transaction(db, async (tx) => {
    const { rowCount } = await tx.query('UPDATE "host" SET "duty" = $2 WHERE "id" = $1', [hostId, duty]);
    if (rowCount === 0) throw noHost(hostId);
    await appendEvents(tx, [{ hostId, data: { type: 'host' } }]);
  });
}

export const noHost = (hostId: string): OffshootError =>
  new OffshootError('not-found', {
    publicMessage: `There is no host ${hostId}.`,
    remedy: 'Reload the page.',
  });

/**
 * Throws `busy` when one of the hosts takes no new work of that kind. Whoever drains a host waits until this transaction
 * is through, so that nothing slips in behind.
 */
export async function needServing(
  tx: Pick<Tx, 'query'>,
  operations: readonly { kind: OperationKind; hostId: string }[],
): Promise<void> {
  const asked = operations.filter(({ kind }) => !EMPTIES.has(kind)).map(({ hostId }) => hostId);
  if (asked.length === 0) return;
  const { rows } = await tx.query<{ name: string; duty: Duty }>(
    `SELECT "name", "duty" FROM "host" WHERE "id" = ANY($1::text[]) ORDER BY "name" FOR KEY SHARE`,
    [[...new Set(asked)]],
  );
  const resting = rows.find(({ duty }) => duty !== 'serving');
  if (resting) throw restingHost(resting.name, resting.duty);
}

/** Why nothing new can be asked of a host; undefined: it can. For previews. */
export async function dutyProblem(db: Db, hostId: string): Promise<OffshootError | undefined> {
  const { rows } = await db.pool.query<{ name: string; duty: Duty }>(
    'SELECT "name", "duty" FROM "host" WHERE "id" = $1',
    [hostId],
  );
  const [host] = rows;
  return host && host.duty !== 'serving' ? restingHost(host.name, host.duty) : undefined;
}

function restingHost(name: string, duty: Duty): OffshootError {
  return new OffshootError('busy', {
    publicMessage:
      duty === 'draining'
        ? `“${name}” is being drained: it takes no new work.`
        : `“${name}” is in maintenance: it takes no new work.`,
    remedy: 'Choose another host, or let it serve again on its page.',
    field: 'hostId',
    retryable: true,
  });
}
