import { expect, it } from 'vitest';
import { guestAddressOf, guestQueryOf } from '../../src/lib/guest-query.ts';
import { hostAddressOf, hostQueryOf } from '../../src/lib/host-query.ts';
import { operationAddressOf, operationQueryOf } from '../../src/lib/operation-query.ts';

const addressOf = (part: Record<string, string | null>): URLSearchParams =>
  new URLSearchParams(
    Object.entries(part).filter((each): each is [string, string] => each[1] !== null && each[1] !== ''),
  );

it('a list of guests is found again from its address', () => {
  const query = {
    search: 'web & co',
    state: 'running',
    mode: 'found',
    hostId: 'host-2',
    look: false,
    ownerId: 'u1',
    sort: 'usedBytes',
    descending: true,
    page: 3,
    pageSize: 50,
  } as const;
  expect(guestQueryOf(addressOf(guestAddressOf(query)))).toEqual(query);
  // The page has one choice for both: what needs a look goes before a state.
  expect(guestQueryOf(new URLSearchParams('look=1&state=running'))).toMatchObject({
    look: true,
    state: null,
  });
  // What is as it is anyway is not written down.
  expect(addressOf(guestAddressOf(guestQueryOf(new URLSearchParams()))).toString()).toBe('');
});

it('a list of hosts is found again from its address', () => {
  const query = {
    search: 'rack',
    state: 'silent',
    accelerator: 'tcg',
    sort: 'load',
    descending: true,
    page: 2,
    pageSize: 50,
  } as const;
  expect(hostQueryOf(addressOf(hostAddressOf(query)))).toEqual(query);
});

it('a list of operations is found again from its address, at its page', () => {
  const query = { show: 'failed', search: 'web', cursor: '0198c1f0-0000-7000-8000-000000000001' } as const;
  expect(operationQueryOf(addressOf(operationAddressOf(query)))).toEqual(query);
  const bare = operationQueryOf(new URLSearchParams({ show: 'odd', before: '; drop' }));
  expect(bare).toEqual({ show: 'all', search: '', cursor: null });
  expect(addressOf(operationAddressOf(bare)).toString()).toBe('');
});

it('what an address makes up is left out, so that the list still comes', () => {
  const made = new URLSearchParams({ state: 'on fire', kind: 'x', host: '../etc', sort: 'uuid', page: '-1' });
  expect(guestQueryOf(made)).toEqual(guestQueryOf(new URLSearchParams()));
});
