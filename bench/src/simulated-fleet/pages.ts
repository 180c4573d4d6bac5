/** What a browser asks for when someone opens a page: the document, then the page's queries in one go. */
import { createTRPCUntypedClient, httpBatchLink } from '@trpc/client';
import { patientFetch } from '../portal.ts';

export interface PageLoad {
  name: string;
  path: string;
  /** As the page's components ask; kept by hand beside them. */
  queries: readonly (readonly [path: string, input?: unknown])[];
}

/** The pages of the bench, about this host of the fleet. */
export function pagesAbout(hostId: string): PageLoad[] {
  const alarms = ['identity.alarms'] as const;
  return [
    { name: 'overview', path: '/', queries: [['overview.get'], alarms] },
    {
      name: 'guests',
      path: '/guests',
      queries: [
        ['host.names'],
        ['guest.owners'],
        ['guest.list', { sort: 'name', descending: false, page: 1, pageSize: 50, search: '' }],
        alarms,
      ],
    },
    {
      name: 'guests-search',
      path: '/guests',
      queries: [
        ['guest.list', { sort: 'name', descending: false, page: 1, pageSize: 50, search: 'simulated-07' }],
      ],
    },
    {
      name: 'hosts',
      path: '/hosts',
      queries: [
        ['host.page', { sort: 'name', descending: false, page: 1, pageSize: 50, search: '' }],
        ['host.transfers'],
      ],
    },
    {
      name: 'host',
      path: `/hosts/${hostId}`,
      queries: [
        ['host.get', { id: hostId }],
        ['host.lanes', { id: hostId }],
        ['host.transfers', { id: hostId }],
        ['host.health', { id: hostId, span: 'hour' }],
        ['host.bases', { id: hostId }],
        ['guest.list', { hostId, pageSize: 12, sort: 'name' }],
        ['operation.list', { hostId, limit: 10 }],
      ],
    },
    {
      name: 'operations',
      path: '/operations',
      queries: [['operation.list', { show: 'all', search: '', cursor: null }]],
    },
    {
      name: 'new-clone',
      path: '/clone',
      queries: [
        ['template.list'],
        ['guest.sources', { search: '', id: null }],
        ['guest.namesLike', { prefix: 'image' }],
        ['host.choices'],
      ],
    },
  ];
}

/** Opens pages as a signed-in person does; each call resolves with milliseconds until the last answer is there. */
export function visitor(url: string, cookie: string): (page: PageLoad) => Promise<number> {
  const client = createTRPCUntypedClient({
    links: [
      httpBatchLink({
        url: `${url}/api/trpc`,
        methodOverride: 'POST',
        maxItems: 20,
        headers: { cookie, origin: url },
        fetch: patientFetch,
      }),
    ],
  });
  return async ({ path, queries }) => {
    const begun = performance.now();
    const document = await patientFetch(url + path, { headers: { cookie }, redirect: 'error' });
    await document.text();
    if (!document.ok) throw new Error(`${path} answered ${document.status}`);
    await Promise.all(queries.map(([query, input]) => client.query(query, input)));
    return performance.now() - begun;
  };
}

/** Keeps a tab's stream of events open, reading and dropping what comes, until the signal aborts. */
export async function watchEvents(url: string, cookie: string, signal: AbortSignal): Promise<number> {
  const input = encodeURIComponent(JSON.stringify({ logs: false, resetAfter: 2000 }));
  let bytes = 0;
  while (!signal.aborted) {
    try {
      const answer = await fetch(`${url}/api/trpc/operation.onEvents?input=${input}`, {
        headers: { cookie, accept: 'text/event-stream' },
        signal,
      });
      for await (const chunk of answer.body ?? []) bytes += (chunk as Uint8Array).byteLength;
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
  return bytes;
}
