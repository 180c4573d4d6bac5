import { fetchRequestHandler } from '@trpc/server/adapters/fetch';
import { createContext } from '../context.ts';
import { boundedRequest, refuseForeign } from '../http.ts';
import { appRouter } from './router.ts';

/** One tRPC request over HTTP: bounded, from our own pages, then the router. */
export async function serveTrpc(request: Request): Promise<Response> {
  const refused = refuseForeign(request);
  if (refused) return refused;
  const bounded = await boundedRequest(request);
  if (bounded instanceof Response) return bounded;
  return fetchRequestHandler({
    endpoint: '/api/trpc',
    req: bounded,
    router: appRouter,
    createContext: ({ req }) => createContext(req),
    // Queries with hundreds of names don't fit a URL.
    allowMethodOverride: true,
  });
}
