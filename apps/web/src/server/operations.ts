import { OffshootError } from '@offshoot/clone-core/errors';
import { onDisk } from '@offshoot/db/events';
import { db } from './services.ts';
import { operationInclude, operationView, type OperationView } from './views/operation.ts';

/** Most log lines that a page gets; the newest ones. */
const LOG_LINES = 2000;

const gone = (): OffshootError =>
  new OffshootError('not-found', { publicMessage: 'There is no such operation.' });

/** One operation. Throws `not-found`. */
export async function operationById(id: string): Promise<OperationView> {
  const row = await db().prisma.operation.findUnique({ where: { id }, include: operationInclude });
  if (!row) throw gone();
  return operationView(row);
}

/** What a queued operation waits behind, in its host's lane. */
export async function queueAhead(id: string): Promise<{ queued: number; running: number }> {
  const row = await db().prisma.operation.findUnique({
    where: { id },
    select: { hostId: true, lane: true, createdAt: true },
  });
  if (!row) throw gone();
  const lane = { hostId: row.hostId, lane: row.lane };
  const [queued, running] = await Promise.all([
    db().prisma.operation.count({
      where: {
        ...lane,
        state: 'queued',
        OR: [{ createdAt: { lt: row.createdAt } }, { createdAt: row.createdAt, id: { lt: id } }],
      },
    }),
    db().prisma.operation.count({ where: { ...lane, state: { in: ['running', 'undoing'] } } }),
  ]);
  return { queued, running };
}

export interface LogLine {
  id: string;
  at: string;
  index: number;
  line: string;
}

/** The newest lines of an operation's log, oldest first. */
export async function operationLog(id: string): Promise<LogLine[]> {
  const rows = await db().prisma.event.findMany({
    where: { operationId: id, data: { path: ['type'], equals: 'log' } },
    orderBy: { id: 'desc' },
    take: LOG_LINES,
  });
  // The page knows its lines by their ids.
  await onDisk(db());
  return rows.reverse().map((row) => {
    const data = row.data as { index?: number; line?: string };
    return { id: String(row.id), at: row.at.toISOString(), index: data.index ?? 0, line: data.line ?? '' };
  });
}
