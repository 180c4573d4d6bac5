/** The list of guests and its address. */
import { cloneModes, guestStates, hostIdSchema } from '@offshoot/clone-core/contract';
import { listAddress, oneOf, pageOf, searchOf } from './address.ts';
import type { Inputs } from './trpc.ts';

export type GuestQuery = Exclude<Inputs['guest']['list'], void>;

export const GUESTS_A_PAGE = 50;
export const guestSorts = ['name', 'state', 'usedBytes', 'createdAt', 'address'] as const;
export const guestKinds = [...cloneModes, 'found', 'foreign'] as const;

export function guestQueryOf(params: URLSearchParams): GuestQuery {
  const host = hostIdSchema.safeParse(params.get('host'));
  return {
    search: searchOf(params),
    // One choice on the page: what needs a look goes before a state.
    state: params.get('look') === '1' ? null : oneOf(guestStates, params.get('state')),
    mode: oneOf(guestKinds, params.get('kind')),
    hostId: host.success ? host.data : null,
    look: params.get('look') === '1',
    ownerId: params.get('owner')?.slice(0, 64) ?? null,
    sort: oneOf(guestSorts, params.get('sort')) ?? 'name',
    descending: params.get('order') === 'down',
    page: pageOf(params),
    pageSize: GUESTS_A_PAGE,
  };
}

/** The other way: of a change to the query, the parameters that change. */
export const guestAddressOf = (part: GuestQuery): Record<string, string | null> => ({
  ...listAddress(part),
  ...(part.state === undefined ? {} : { state: part.state }),
  ...(part.mode === undefined ? {} : { kind: part.mode }),
  ...(part.hostId === undefined ? {} : { host: part.hostId }),
  ...(part.look === undefined ? {} : { look: part.look ? '1' : null }),
  ...(part.ownerId === undefined ? {} : { owner: part.ownerId }),
});
