/** What the schema can't see: whether the parts of an identity fit each other, the guests' names and what is there already. */
import { OffshootError } from '../errors.ts';
import { inNetwork, readAddress, special, unusable, type Network } from './addresses.ts';
import { agents as shippedAgents, type AgentState } from './agents.ts';
import type { IdentityOptions } from './contract.ts';
import { computerNameOf, hostnameOf } from './hostnames.ts';
import { addressAt, IDENTITY_FIELD, networkOf } from './static-address.ts';
import { readUserData } from './user-data.ts';

/** What other guests have already: each value with the name of the guest that has it. */
export interface Taken {
  /** Host names, lower case. */
  hostnames?: ReadonlyMap<string, string>;
  /** Addresses without prefix length. */
  addresses?: ReadonlyMap<string, string>;
}

/**
 * Checks identity options against the names of the guests that are asked for. Throws `invalid-input`, or `name-taken` for what
 * another guest has, with the field at fault: `names` or below `options.identity`. `agents`: the list in force, with what users
 * added to it.
 */
export function validateIdentity(
  options: IdentityOptions,
  names: readonly string[],
  taken: Taken = {},
  agents: readonly AgentState[] = shippedAgents,
): void {
  checkNames(options, names, taken);
  checkAddresses(options, names, taken);
  if (options.userData !== undefined) readUserData(options.userData);
  if (options.firstBootScript?.includes('\0'))
    throw refuse('The first-boot script is no text: it holds a zero byte.', 'firstBootScript', {
      remedy: 'Paste the script itself; let it fetch programs.',
    });
  checkAgents(options, agents);
}

function refuse(
  publicMessage: string,
  below: string,
  more: { remedy: string; code?: 'name-taken' },
): OffshootError {
  return new OffshootError(more.code ?? 'invalid-input', {
    publicMessage,
    remedy: more.remedy,
    field: below === 'names' ? below : `${IDENTITY_FIELD}.${below}`,
  });
}

function checkNames(options: IdentityOptions, names: readonly string[], taken: Taken): void {
  distinct(names, hostnameOf, 'host name');
  for (const name of names) {
    const hostname = hostnameOf(name);
    const other = taken.hostnames?.get(hostname);
    if (other !== undefined)
      throw refuse(`${name} would get the host name ${hostname}, which ${other} has already.`, 'names', {
        remedy: 'Choose another name.',
        code: 'name-taken',
      });
    if (options.domain !== undefined && hostname.length + 1 + options.domain.length > 253)
      throw refuse(
        `${hostname} with its domain would be longer than the 253 characters that DNS allows.`,
        'domain',
        { remedy: 'Choose a shorter domain or shorter names.' },
      );
  }
  if (!options.windows) return;
  if (options.windows.computerName === undefined) distinct(names, computerNameOf, 'Windows computer name');
  else if (names.length > 1)
    throw refuse(
      `${names.length} guests can’t all have the computer name ${options.windows.computerName}.`,
      'windows.computerName',
      { remedy: 'Leave it empty: each gets one from its own name.' },
    );
}

function distinct(names: readonly string[], of: (name: string) => string, what: string): void {
  const seen = new Map<string, string>();
  for (const name of names) {
    const made = of(name);
    const before = seen.get(made);
    if (before !== undefined)
      throw refuse(`${before} and ${name} would both get the ${what} ${made}.`, 'names', {
        remedy:
          what === 'host name'
            ? 'Make the names differ in more than capitals, dots, dashes and underscores.'
            : 'Make the names differ in their first characters or in the number at their end.',
      });
    seen.set(made, name);
  }
}

/** What routers of IPv6 announce themselves by, whatever the network (RFC 4861). */
const LINK_LOCAL: Network = { version: 6, address: 0xfe80n << 112n, prefix: 10 };
const isLinkLocal = (one: Network): boolean => inNetwork(LINK_LOCAL, one);

function checkAddresses(options: IdentityOptions, names: readonly string[], taken: Taken): void {
  const addressing = options.addressing;
  if (addressing?.type !== 'static') return;
  const network = networkOf(addressing.first);
  if (addressing.gateway !== undefined) {
    const gateway = readAddress(addressing.gateway);
    const why =
      !gateway || gateway.version !== network.version
        ? 'it is of another kind than the address'
        : isLinkLocal(gateway)
          ? undefined
          : !inNetwork(network, gateway)
            ? 'it is outside the network of the address'
            : unusable(network, gateway.address);
    if (why !== undefined)
      throw refuse(`${addressing.gateway} can’t be the gateway: ${why}.`, 'addressing.gateway', {
        remedy: `Choose an address in the network of ${addressing.first}, or correct the network’s size.`,
      });
  }
  addressing.nameservers.forEach((server, i) => {
    const read = readAddress(server);
    // A resolver inside the guest is fine: 127.0.0.53.
    const why = read && special(read);
    if (why?.includes('multicast'))
      throw refuse(`${server} can’t be a name server: ${why}.`, `addressing.nameservers.${i}`, {
        remedy: 'Give the address of a name server.',
      });
  });
  names.forEach((name, index) => {
    const address = addressAt(addressing, index, name).split('/')[0] ?? '';
    const other = taken.addresses?.get(address);
    if (other !== undefined)
      throw refuse(`${name} would get the address ${address}, which ${other} has.`, 'addressing.first', {
        remedy: `Choose a first address with ${names.length} free ones from there on.`,
        code: 'name-taken',
      });
  });
}

function checkAgents(options: IdentityOptions, agents: readonly AgentState[]): void {
  if (options.agents === 'found') return;
  const unknown = options.agents.find((id) => !agents.some((agent) => agent.id === id));
  if (unknown !== undefined)
    throw refuse(`No agent with the id ${unknown} is in the list.`, 'agents', {
      remedy: 'Take it out, or add it to the list of agents.',
    });
}
