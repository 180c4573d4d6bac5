/** The list of hosts and its address. */
import { listAddress, oneOf, pageOf, searchOf } from './address.ts';
import type { Inputs } from './trpc.ts';

export type HostQuery = Exclude<Inputs['host']['page'], void>;

export const HOSTS_A_PAGE = 50;
export const hostSorts = ['name', 'state', 'load', 'memory', 'storage', 'guests'] as const;
export const hostStates = ['online', 'problem', 'silent'] as const;
export const hostAccelerators = ['kvm', 'tcg', 'simulated'] as const;

export const hostQueryOf = (params: URLSearchParams): HostQuery => ({
  search: searchOf(params),
  state: oneOf(hostStates, params.get('state')),
  accelerator: oneOf(hostAccelerators, params.get('accelerator')),
  sort: oneOf(hostSorts, params.get('sort')) ?? 'name',
  descending: params.get('order') === 'down',
  page: pageOf(params),
  pageSize: HOSTS_A_PAGE,
});

/** The other way: of a change to the query, the parameters that change. */
export const hostAddressOf = (part: HostQuery): Record<string, string | null> => ({
  ...listAddress(part),
  ...(part.state === undefined ? {} : { state: part.state }),
  ...(part.accelerator === undefined ? {} : { accelerator: part.accelerator }),
});
