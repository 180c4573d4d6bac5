/** What server components need: who looks, and from which event on their page is live. */
import { latestEventId } from '@offshoot/db/events';
import { signedIn } from './auth.ts';
import { log } from './log.ts';
import { db } from './services.ts';

export interface PageSession {
  user: { name: string; email: string };
  /** Read before any data of the page: events after it may be news to the page. Null: from now. */
  cursor: string | null;
}

/** The session of a page, or undefined: send them to sign-in. */
export async function pageSession(headers: Headers): Promise<PageSession | undefined> {
  const signed = await signedIn(headers);
  if (!signed) return undefined;
  let cursor: string | null = null;
  try {
    cursor = await latestEventId(db());
  } catch (error) {
    log.warn({ err: error }, 'no event cursor for a page');
  }
  return { user: { name: signed.name, email: signed.email }, cursor };
}
