/** Arithmetic on IP addresses: which networks they are in, and which ones no guest can have. */

export interface Network {
  version: 4 | 6;
  /** The address as written, as a number. */
  address: bigint;
  prefix: number;
}

const BITS = { 4: 32, 6: 128 } as const;

/** Reads 192.168.122.50/24 or 2001:db8::5/64; without a prefix the address alone. Undefined: it is none. */
export function readAddress(text: string): Network | undefined {
  const [ip = '', prefixText, ...more] = text.split('/');
  if (more.length > 0) return undefined;
  const version = ip.includes(':') ? 6 : 4;
  const address = version === 4 ? readV4(ip) : readV6(ip);
  if (address === undefined) return undefined;
  if (prefixText === undefined) return { version, address, prefix: BITS[version] };
  if (!/^\d{1,3}$/.test(prefixText) || Number(prefixText) > BITS[version]) return undefined;
  return { version, address, prefix: Number(prefixText) };
}

function readV4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

/** By the WHATWG URL parser, which knows every way to write one and gives the shortest (RFC 5952). */
function readV6(text: string): bigint | undefined {
  if (!URL.canParse(`http://[${text}]/`)) return undefined;
  const short = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const [head = '', tail] = short.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const before = groups(head);
  const after = groups(tail ?? '');
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...zeros, ...after].reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n);
}

export function writeAddress(version: 4 | 6, address: bigint): string {
  if (version === 4) return [24n, 16n, 8n, 0n].map((shift) => String((address >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((address >> BigInt(112 - 16 * i)) & 65_535n).toString(16),
  );
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}

const hostBits = (network: Network): bigint => (1n << BigInt(BITS[network.version] - network.prefix)) - 1n;
export const firstOf = (network: Network): bigint => network.address & ~hostBits(network);
export const lastOf = (network: Network): bigint => network.address | hostBits(network);

export const inNetwork = (network: Network, one: Network): boolean =>
  one.version === network.version && one.address >= firstOf(network) && one.address <= lastOf(network);

/** 255.255.255.0 for a prefix of 24. */
export const netmaskOf = (prefix: number): string =>
  writeAddress(4, ((1n << BigInt(prefix)) - 1n) << BigInt(32 - prefix));

/** 24 for 255.255.255.0; undefined: it is no netmask. */
export function prefixOf(netmask: string | undefined): number | undefined {
  if (netmask === undefined) return undefined;
  const prefixes = Array.from({ length: 33 }, (_, prefix) => prefix);
  return prefixes.find((prefix) => netmaskOf(prefix) === netmask);
}

/**
 * Why no guest can have this address in this network, as the end of a sentence; undefined: it can. Network and broadcast
 * address are none's, save in networks of two (RFC 3021, RFC 6164) and of one.
 */
export function unusable(network: Network, address: bigint): string | undefined {
  const { version, prefix } = network;
  if (address < firstOf(network) || address > lastOf(network)) return 'it is outside that network';
  if (prefix < BITS[version] - 1) {
    if (address === firstOf(network))
      return version === 4
        ? 'it is the address of the network itself'
        : 'it belongs to the network’s routers';
    if (version === 4 && address === lastOf(network)) return 'it is the network’s broadcast address';
  }
  return undefined;
}

const v4Specials: readonly [string, string][] = [
  ['0.0.0.0/8', 'it means “this network”'],
  ['127.0.0.0/8', 'it is a loopback address'],
  ['224.0.0.0/4', 'it is a multicast address'],
  ['240.0.0.0/4', 'it is reserved'],
];
const v6Specials: readonly [string, string][] = [
  ['::/127', 'it is no address of a machine'],
  ['ff00::/8', 'it is a multicast address'],
];

/** Why no guest can have this address in any network (RFC 6890, RFC 4291), as the end of a sentence. */
export function special(one: Network): string | undefined {
  for (const [range, why] of one.version === 4 ? v4Specials : v6Specials) {
    const network = readAddress(range);
    if (network && inNetwork(network, one)) return why;
  }
  return undefined;
}
