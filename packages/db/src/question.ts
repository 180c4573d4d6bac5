/** What a preview of a change to a guest, or of an export, asks for, and what asking for it would be refused for. */
import type { GuestQuestion } from '@offshoot/clone-core/contract';
import type { Db } from './client.ts';
import { makeExport } from './export-request.ts';
import { AGENT_SECONDS, makeGuestOperation } from './guest-requests.ts';
import { makeMove } from './move-request.ts';
import { makeRefresh } from './refresh-request.ts';
import { persistently, transaction, type Tx } from './transaction.ts';
import type { StoredRequest } from './types.ts';

type Asked = Extract<StoredRequest, { kind: GuestQuestion['kind'] }>;

/** What would be stored for it. */
export function requestOf(question: GuestQuestion): Asked {
  if (question.kind === 'export-version') {
    const { versionId, format } = question;
    return { kind: 'export', source: { type: 'template', versionId }, format };
  }
  const { guestId, ...asked } = question;
  switch (asked.kind) {
    case 'reset':
      return { ...asked, agentTimeoutSeconds: AGENT_SECONDS };
    case 'export':
      return { ...asked, source: { type: 'guest', id: guestId } };
    case 'migrate': {
      const { kind, hostId, network } = asked;
      return { kind, targetHostId: hostId, ...(network === undefined ? {} : { network }) };
    }
    case 'capture': {
      const { kind, template, memory } = asked;
      return { kind, guestId, template: { name: template, description: '' }, ...(memory ? { memory } : {}) };
    }
    default:
      return asked;
  }
}

/** Throws what asking for it now would throw. Nothing is changed or stays locked. Only the web sees the rows of all hosts. */
export async function refuseQuestion(db: Db, question: GuestQuestion): Promise<void> {
  const request = requestOf(question);
  await persistently(async () => {
    try {
      await transaction(db, async (tx) => {
        await make(tx, question, request);
        throw new Enough();
      });
    } catch (thrown) {
      if (!(thrown instanceof Enough)) throw thrown;
    }
  });
}

/** Rolls back what was made to see whether it can be. */
class Enough extends Error {}

async function make(tx: Tx, question: GuestQuestion, request: Asked): Promise<void> {
  if (request.kind === 'export') await makeExport(tx, request);
  else if ('guestId' in question) await makeOfGuest(tx, question.guestId, request);
}

async function makeOfGuest(
  tx: Tx,
  guestId: string,
  request: Exclude<Asked, { kind: 'export' }>,
): Promise<void> {
  switch (request.kind) {
    case 'refresh':
      await makeRefresh(tx, guestId, request, null);
      return;
    case 'migrate':
      await makeMove(tx, guestId, request, null);
      return;
    default:
      await makeGuestOperation(tx, guestId, request);
  }
}
