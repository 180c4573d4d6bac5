'use client';

import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { isSignedOut, makeClient, publicError, TRPCProvider } from '../../lib/trpc.ts';
import { LiveProvider } from './Live.tsx';

function toSignIn(error: unknown): void {
  if (isSignedOut(error))
    window.location.assign(
      `/login?next=${encodeURIComponent(window.location.pathname + window.location.search)}`,
    );
}

function makeQueryClient(): QueryClient {
  return new QueryClient({
    queryCache: new QueryCache({ onError: toSignIn }),
    mutationCache: new MutationCache({ onError: toSignIn }),
    defaultOptions: {
      queries: {
        // Events keep data fresh; asking again is for what events can't tell.
        staleTime: 30_000,
        refetchOnWindowFocus: false,
        retry: (failures, error) => failures < 2 && publicError(error).retryable,
      },
    },
  });
}

/** Data and its live updates for every page behind sign-in. */
export function Providers({ cursor, children }: { cursor: string | null; children: ReactNode }) {
  const [queryClient] = useState(makeQueryClient);
  const [trpcClient] = useState(makeClient);
  return (
    <QueryClientProvider client={queryClient}>
      <TRPCProvider trpcClient={trpcClient} queryClient={queryClient}>
        <LiveProvider cursor={cursor}>{children}</LiveProvider>
      </TRPCProvider>
    </QueryClientProvider>
  );
}
