'use client';

import { useQueryClient, type QueryKey } from '@tanstack/react-query';
import { createContext, useContext, useEffect, useRef, useState, type ReactNode } from 'react';
import { VisuallyHidden } from '@mantine/core';
import { paced } from '../../lib/paced.ts';
import { useTRPC, useTRPCClient } from '../../lib/trpc.ts';
import { applyEvents, type Announce } from './apply.ts';
import type { LiveEvent } from '../../server/trpc/live.ts';

export type Connection = 'live' | 'connecting';

const LiveContext = createContext<Connection>('connecting');

/** Whether news arrive right now. */
export const useConnection = (): Connection => useContext(LiveContext);

/** Events that arrive within this long, milliseconds, are applied together: lists don't thrash. */
const COALESCE_MS = 250;
/** What keeps changing (a list, while hundreds of hosts work) is asked again this often at most, milliseconds. */
const AGAIN_MS = 1000;
/** A hidden tab gives its connection back after this long: browsers allow six to a server, over all tabs. */
const HIDDEN_MS = 30_000;
/** Missing more than this many events, everything is asked again instead. */
const RESET_AFTER = 2000;
/** Reconnecting is said only when it takes longer than this, milliseconds. */
const SAY_AFTER_MS = 1500;

/** One subscription for the whole tab, which patches what the pages hold. */
export function LiveProvider({ cursor, children }: { cursor: string | null; children: ReactNode }) {
  const trpc = useTRPC();
  const client = useTRPCClient();
  const queryClient = useQueryClient();
  const [connection, setConnection] = useState<Connection>('live');
  const [announcement, setAnnouncement] = useState('');
  const lastEventId = useRef(cursor);

  useEffect(() => {
    let pending: LiveEvent[] = [];
    let flushTimer: ReturnType<typeof setTimeout> | undefined;
    let sayTimer: ReturnType<typeof setTimeout> | undefined;
    let hiddenTimer: ReturnType<typeof setTimeout> | undefined;
    let retryTimer: ReturnType<typeof setTimeout> | undefined;
    let subscription: { unsubscribe(): void } | undefined;
    const announce: Announce = setAnnouncement;
    const refetching = paced<QueryKey>(
      AGAIN_MS,
      (queryKey) => void queryClient.invalidateQueries({ queryKey }),
    );

    const flush = (): void => {
      flushTimer = undefined;
      const events = pending;
      pending = [];
      applyEvents(queryClient, trpc, events, announce, (name, key) => refetching.ask(name, key));
    };
    const say = (state: Connection): void => {
      clearTimeout(sayTimer);
      sayTimer = undefined;
      if (state === 'live') setConnection('live');
      else sayTimer = setTimeout(() => setConnection('connecting'), SAY_AFTER_MS);
    };
    const close = (): void => {
      subscription?.unsubscribe();
      subscription = undefined;
      clearTimeout(retryTimer);
    };
    const again = (): void => {
      close();
      say('connecting');
      // A stream does not tell why it was refused. When the session is over, this question's answer sends to sign-in.
      void queryClient.prefetchQuery({ ...trpc.me.get.queryOptions(), staleTime: 0 });
      retryTimer = setTimeout(open, 1000 + Math.random() * 1000);
    };
    const open = (): void => {
      close();
      subscription = client.operation.onEvents.subscribe(
        { lastEventId: lastEventId.current, logs: false, resetAfter: RESET_AFTER },
        {
          onData: ({ id, data }) => {
            lastEventId.current = id;
            pending.push(...data);
            flushTimer ??= setTimeout(flush, COALESCE_MS);
          },
          onConnectionStateChange: ({ state }) => say(state === 'pending' ? 'live' : 'connecting'),
          onError: again,
          onComplete: again,
        },
      );
    };
    const onVisible = (): void => {
      clearTimeout(hiddenTimer);
      if (document.hidden) hiddenTimer = setTimeout(close, HIDDEN_MS);
      else if (!subscription) open();
    };

    open();
    document.addEventListener('visibilitychange', onVisible);
    window.addEventListener('online', open);
    return () => {
      close();
      refetching.stop();
      clearTimeout(flushTimer);
      clearTimeout(sayTimer);
      clearTimeout(hiddenTimer);
      document.removeEventListener('visibilitychange', onVisible);
      window.removeEventListener('online', open);
    };
  }, [client, queryClient, trpc]);

  return (
    <LiveContext.Provider value={connection}>
      {children}
      <VisuallyHidden component="output" aria-live="polite">
        {announcement}
      </VisuallyHidden>
    </LiveContext.Provider>
  );
}
