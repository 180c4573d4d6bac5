/** The few doors of better-auth that the portal opens to the network; the rest is reachable from the server only. */
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { z } from 'zod';
import { auth } from './auth.ts';
import { boundedRequest, errorResponse, refuseForeign } from './http.ts';

const doors = new Set([
  'POST /api/auth/sign-in/email',
  'POST /api/auth/sign-out',
  'GET /api/auth/get-session',
]);

/** Wrong passwords per address of an account, however many machines ask: 10 in 5 minutes. */
const failures = new RateLimiterMemory({ points: 10, duration: 5 * 60 });

/** One request to better-auth over HTTP. */
export async function serveAuth(request: Request): Promise<Response> {
  const refused = refuseForeign(request);
  if (refused) return refused;
  const door = `${request.method} ${new URL(request.url).pathname}`;
  if (!doors.has(door)) return errorResponse(404, 'NOT_FOUND', 'There is nothing here.');
  const bounded = await boundedRequest(request);
  if (bounded instanceof Response) return bounded;
  return door.endsWith('/sign-in/email') ? signIn(bounded) : auth().handler(bounded);
}

async function signIn(request: Request): Promise<Response> {
  const text = await request.text();
  const email = emailOf(text);
  if (email !== undefined) {
    const spent = await failures.get(email);
    if (spent !== null && spent.remainingPoints <= 0) {
      return errorResponse(
        429,
        'TOO_MANY_REQUESTS',
        'Too many wrong passwords. Wait five minutes and try again.',
      );
    }
  }
  const response = await auth().handler(
    new Request(request.url, { method: 'POST', headers: request.headers, body: text }),
  );
  if (email !== undefined && response.status === 401) await failures.consume(email).catch(() => undefined);
  if (email !== undefined && response.ok) await failures.delete(email);
  return response;
}

const bodySchema = z.object({ email: z.string().max(320) });

function emailOf(text: string): string | undefined {
  try {
    const parsed = bodySchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data.email.toLowerCase() : undefined;
  } catch (error) {
    // better-auth answers what is wrong with a body that is no JSON.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
