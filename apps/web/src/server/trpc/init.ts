import { initTRPC, TRPCError } from '@trpc/server';
import type { Context } from '../context.ts';
import { publicErrorOf, trpcCodeOf } from '../errors.ts';
import { log } from '../log.ts';

/** A subscription is closed after this long, milliseconds; the browser comes back at once with its cursor and its session is looked at again. */
const MAX_SUBSCRIPTION_MS = 10 * 60 * 1000;

const t = initTRPC.context<Context>().create({
  isDev: false,
  sse: {
    maxDurationMs: MAX_SUBSCRIPTION_MS,
    ping: { enabled: true, intervalMs: 10_000 },
    client: { reconnectAfterInactivityMs: 25_000 },
  },
  errorFormatter({ shape, error }) {
    const offshoot = publicErrorOf(error);
    return { ...shape, message: offshoot.message, data: { ...shape.data, offshoot } };
  },
});

export const router = t.router;
export const createCaller = t.createCallerFactory;

/** Gives errors of the domain their HTTP meaning, and writes what nobody foresaw to the operator's log. */
const withErrors = t.middleware(async ({ next, path, type }) => {
  const result = await next();
  if (result.ok) return result;
  const cause = result.error.cause;
  const code = cause === undefined ? result.error.code : trpcCodeOf(cause, result.error.code);
  if (code === 'INTERNAL_SERVER_ERROR')
    log.error({ err: cause ?? result.error, path, type }, 'a call failed');
  if (code === result.error.code) return result;
  throw new TRPCError({ code, message: result.error.message, cause });
});

/** Every procedure of the portal: refuses whoever has no session. */
export const procedure = t.procedure.use(withErrors).use(({ ctx, next }) => {
  if (!ctx.signed) throw new TRPCError({ code: 'UNAUTHORIZED', message: 'Sign in first.' });
  return next({ ctx: { ...ctx, signed: ctx.signed } });
});
