/** Static addresses of the guests of one request. */
import { OffshootError } from '../errors.ts';
import { readAddress, special, unusable, writeAddress, type Network } from './addresses.ts';
import type { Addressing } from './contract.ts';

/** Where the identity is in a request: errors name their field below it. */
export const IDENTITY_FIELD = 'options.identity';

export type StaticAddressing = Extract<Addressing, { type: 'static' }>;

/**
 * The address of the guest with this index, with prefix length: consecutive from `first`. Throws `invalid-input` when it
 * leaves the network, or is the network's, its broadcast or its gateway's address.
 */
export function addressAt(addressing: StaticAddressing, index: number, name: string): string {
  const first = networkOf(addressing.first);
  const address = first.address + BigInt(index);
  const text = `${writeAddress(first.version, address)}/${first.prefix}`;
  const gateway = addressing.gateway === undefined ? undefined : readAddress(addressing.gateway);
  const why =
    address >= 1n << (first.version === 4 ? 32n : 128n)
      ? 'there is no such address'
      : (unusable(first, address) ??
        special({ ...first, address }) ??
        (gateway?.address === address && gateway.version === first.version
          ? 'it is the gateway’s'
          : undefined));
  if (why !== undefined)
    throw new OffshootError('invalid-input', {
      publicMessage:
        index === 0
          ? `${name} can’t have the address ${text}: ${why}.`
          : `Counted from ${addressing.first}, ${name} would get ${text}, but ${why}.`,
      remedy: 'Choose another first address, or fewer guests.',
      field: `${IDENTITY_FIELD}.addressing.first`,
    });
  return text;
}

/** Throws `invalid-input` for what is no address with a prefix length. */
export function networkOf(first: string): Network {
  const network = first.includes('/') ? readAddress(first) : undefined;
  if (!network)
    throw new OffshootError('invalid-input', {
      publicMessage: `${first} is no address with the size of its network.`,
      remedy: 'Write it as in 192.168.122.50/24.',
      field: `${IDENTITY_FIELD}.addressing.first`,
    });
  return network;
}
