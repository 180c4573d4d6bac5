'use client';

import type { PublicError } from '@offshoot/clone-core/contract';
import {
  createTRPCClient,
  httpBatchLink,
  httpLink,
  httpSubscriptionLink,
  splitLink,
  TRPCClientError,
  type TRPCLink,
} from '@trpc/client';
import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server';
import { createTRPCContext } from '@trpc/tanstack-react-query';
import type { AppRouter } from '../server/trpc/router.ts';

export const { TRPCProvider, useTRPC, useTRPCClient } = createTRPCContext<AppRouter>();

export type Outputs = inferRouterOutputs<AppRouter>;
export type Inputs = inferRouterInputs<AppRouter>;

const url = '/api/trpc';

/** What a host's worker answers may take seconds. */
const isSlow = (path: string): boolean =>
  path.startsWith('preview.') || path === 'lineage.drift' || path === 'lineage.baseUsers';

/** Queries travel together; what a worker answers and every change travel alone. */
export function makeClient() {
  const alone: TRPCLink<AppRouter> = httpLink({ url, methodOverride: 'POST' });
  const together: TRPCLink<AppRouter> = httpBatchLink({ url, methodOverride: 'POST', maxItems: 20 });
  return createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: (op) => op.type === 'subscription',
        true: httpSubscriptionLink({ url }),
        false: splitLink({
          condition: (op) => op.type === 'mutation' || isSlow(op.path),
          true: alone,
          false: together,
        }),
      }),
    ],
  });
}

/** What to tell the user of a failed call. */
export function publicError(error: unknown): PublicError {
  if (error instanceof TRPCClientError) {
    const data: unknown = error.data;
    if (typeof data === 'object' && data !== null && 'offshoot' in data)
      return (data as { offshoot: PublicError }).offshoot;
  }
  return {
    code: 'host-unreachable',
    message: 'The portal does not answer.',
    remedy: 'Check your connection; what runs goes on without you.',
    retryable: true,
  };
}

/** What happened and what to do, where there is room for one text only. */
export function publicWords(error: unknown): string {
  const { message, remedy } = publicError(error);
  return remedy === undefined ? message : `${message} ${remedy}`;
}

/** Whether the call failed because there is no session any more. */
export function isSignedOut(error: unknown): boolean {
  if (!(error instanceof TRPCClientError)) return false;
  const data: unknown = error.data;
  return typeof data === 'object' && data !== null && 'code' in data && data.code === 'UNAUTHORIZED';
}
