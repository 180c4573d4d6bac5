/** The list of operations and its address. */
import { oneOf, searchOf } from './address.ts';
import { idSchema } from './id.ts';
import type { Inputs } from './trpc.ts';

export type OperationQuery = Exclude<Inputs['operation']['list'], void>;

export const operationShows = ['all', 'active', 'failed', 'finished'] as const;
export type OperationShow = (typeof operationShows)[number];

export function operationQueryOf(params: URLSearchParams): OperationQuery & {
  show: OperationShow;
  search: string;
} {
  const before = idSchema.safeParse(params.get('before'));
  return {
    show: oneOf(operationShows, params.get('show')) ?? 'all',
    search: searchOf(params),
    cursor: before.success ? before.data : null,
  };
}

/** The other way: of a change to the query, the parameters that change. */
export const operationAddressOf = (part: OperationQuery): Record<string, string | null> => ({
  ...(part.search === undefined ? {} : { q: part.search }),
  ...(part.show === undefined ? {} : { show: part.show === 'all' ? null : part.show }),
  ...(part.cursor === undefined ? {} : { before: part.cursor }),
});
