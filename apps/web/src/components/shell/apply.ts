import { isEnded, type OperationEventData } from '@offshoot/clone-core/contract';
import type { QueryClient, QueryKey } from '@tanstack/react-query';
import { operationTitle, stateWords } from '../../lib/operation.ts';
import { patchList, patchOperation } from '../../lib/patch.ts';
import type { Outputs, useTRPC } from '../../lib/trpc.ts';
import type { LiveEvent } from '../../server/trpc/live.ts';
import type { OperationView } from '../../server/views/operation.ts';

type Trpc = ReturnType<typeof useTRPC>;
export type Announce = (text: string) => void;
/** Asks again for the queries under a key, soon; `name` tells the keys apart. */
export type AskAgain = (name: string, key: QueryKey) => void;

/**
 * Applies a handful of events to what the browser holds: progress by patching in place, everything else by patching
 * and asking again once for the lot.
 */
export function applyEvents(
  queryClient: QueryClient,
  trpc: Trpc,
  events: readonly LiveEvent[],
  announce: Announce,
  askAgain: AskAgain,
): void {
  const stale = new Map<string, QueryKey>();
  const mark = (key: QueryKey): void => void stale.set(JSON.stringify(key), key);
  for (const event of events) {
    const { data } = event;
    switch (data.type) {
      case 'reset':
        void queryClient.invalidateQueries();
        return;
      case 'host':
        mark(trpc.host.pathKey());
        mark(trpc.overview.pathKey());
        break;
      case 'inventory':
        for (const id of data.guestIds) mark(trpc.guest.get.queryKey({ id }));
        mark(trpc.guest.list.pathKey());
        mark(trpc.guest.clones.pathKey());
        mark(trpc.identity.alarms.queryKey());
        for (const id of data.guestIds) mark(trpc.identity.ofGuest.queryKey({ id }));
        mark(trpc.lineage.graph.pathKey());
        mark(trpc.overview.pathKey());
        break;
      case 'state':
      case 'plan':
      case 'step':
      case 'progress':
      case 'log':
        if (event.operationId !== null)
          applyToOperation(
            queryClient,
            trpc,
            { ...event, operationId: event.operationId, data },
            mark,
            announce,
          );
        break;
    }
  }
  for (const [name, key] of stale) askAgain(name, key);
}

type OperationEvent = LiveEvent & { operationId: string; data: OperationEventData };

function applyToOperation(
  queryClient: QueryClient,
  trpc: Trpc,
  event: OperationEvent,
  mark: (key: QueryKey) => void,
  announce: Announce,
): void {
  const { operationId: id, data, at } = event;
  const oneKey = trpc.operation.get.queryKey({ id });
  const held = queryClient.getQueryData<OperationView>(oneKey);
  queryClient.setQueryData<OperationView>(oneKey, (view) => view && patchOperation(view, data, at));
  queryClient.setQueriesData<Outputs['operation']['batch']>(
    { queryKey: trpc.operation.batch.pathKey() },
    (list) => list && [...patchList(list, id, data, at)],
  );
  queryClient.setQueriesData<Outputs['operation']['list']>(
    { queryKey: trpc.operation.list.pathKey() },
    (page) => {
      if (!page || !('operations' in page)) return page;
      const operations = patchList(page.operations, id, data, at);
      return operations === page.operations ? page : { ...page, operations: [...operations] };
    },
  );
  queryClient.setQueryData<Outputs['overview']['get']>(trpc.overview.get.queryKey(), (view) => {
    if (!view) return view;
    const running = patchList(view.running, id, data, at);
    return running === view.running ? view : { ...view, running: [...running] };
  });
  if (data.type !== 'state') return;
  mark(oneKey);
  mark(trpc.operation.list.pathKey());
  mark(trpc.operation.ahead.pathKey());
  mark(trpc.host.transfers.pathKey());
  mark(trpc.overview.pathKey());
  mark(trpc.guest.list.pathKey());
  if (event.guestId !== null) mark(trpc.guest.get.queryKey({ id: event.guestId }));
  if (isEnded(data.state)) {
    mark(trpc.operation.batch.pathKey());
    mark(trpc.template.pathKey());
    mark(trpc.lineage.graph.pathKey());
  }
  if (held) announce(`${operationTitle(held)}: ${stateWords[data.state].toLowerCase()}`);
}
