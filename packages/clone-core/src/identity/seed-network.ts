/** network-config of a NoCloud seed. */
import type { DecidedIdentity, IdentityOptions, LinkPolicy, NetworkStack } from './contract.ts';
import type { CloudConfig } from './user-data.ts';

/**
 * Cards are matched by MAC, so that their names inside do not matter. With a policy that cuts the links, nothing may wait for
 * them at boot: the agent that has to attest starts only after what waits. How far each renderer of cloud-init gets there:
 *
 * - netplan takes `optional: true` (RequiredForOnline=no). systemd-networkd-wait-online still waits its 120 s when no card at
 *   all is required (https://github.com/systemd/systemd/issues/29388; Debian 12's systemd 252 does); netplan 1.0 and later make
 *   it not start then. Hence the drop-in of `seedEdits`, where the disk can be edited.
 * - ifupdown (cloud-init 22.4, net/eni.py) knows no `optional`: networking.service waits for dhclient, up to 5 minutes, and
 *   cloud-init.service comes after it. Version 1 has `control: hotplug`, which becomes allow-hotplug: nothing waits.
 * - cloud-init's own networkd renderer (net/networkd.py) leaves `optional` out: again the drop-in.
 * - NetworkManager gives a card without carrier up after seconds by itself.
 */
export function networkConfig(question: {
  decided: Pick<DecidedIdentity, 'macs' | 'address'>;
  options: Pick<IdentityOptions, 'addressing'>;
  inside?: { network?: NetworkStack[] };
  policy: LinkPolicy;
}): CloudConfig {
  // eni is cloud-init's first choice where ifup is there (net/renderers.py).
  const cut = question.policy !== 'off';
  return question.inside?.network?.includes('ifupdown') ? version1(question, cut) : version2(question, cut);
}

type Question = Parameters<typeof networkConfig>[0];

const isV6 = (address: string): boolean => address.includes(':');

function version2({ decided, options, inside }: Question, cut: boolean): CloudConfig {
  const addressing = options.addressing?.type === 'static' ? options.addressing : undefined;
  return {
    version: 2,
    ethernets: Object.fromEntries(
      decided.macs.map((mac, i) => [
        `nic${i}`,
        {
          match: { macaddress: mac },
          ...(i === 0 && addressing && decided.address !== undefined
            ? {
                dhcp4: false,
                dhcp6: false,
                addresses: [decided.address],
                ...gatewayOf(addressing.gateway, inside?.network?.includes('netplan') ?? false),
                ...names(addressing, 'addresses'),
              }
            : { dhcp4: true }),
          ...(cut ? { optional: true } : {}),
        },
      ]),
    ),
  };
}

/**
 * netplan wants routes. What cloud-init 22.4 makes of a route for ifupdown needs a program that Debian 12 does not have (route),
 * and of ::/0 it makes ::/64: there its older keys, which netplan takes too, with a warning.
 */
function gatewayOf(gateway: string | undefined, netplan: boolean): CloudConfig {
  if (gateway === undefined) return {};
  if (netplan) return { routes: [{ to: isV6(gateway) ? '::/0' : '0.0.0.0/0', via: gateway }] };
  return { [isV6(gateway) ? 'gateway6' : 'gateway4']: gateway };
}

function names(
  addressing: { nameservers: string[]; search: string[] },
  key: 'addresses',
): { nameservers?: Record<string, string[]> } {
  const { nameservers, search } = addressing;
  if (nameservers.length + search.length === 0) return {};
  return {
    nameservers: {
      ...(nameservers.length > 0 ? { [key]: nameservers } : {}),
      ...(search.length > 0 ? { search } : {}),
    },
  };
}

/** Names of cards are needed here; cloud-init gives them to the cards with these MACs, so they are the usual ones. */
function version1({ decided, options }: Question, cut: boolean): CloudConfig {
  const control = cut ? { control: 'hotplug' } : {};
  const addressing = options.addressing?.type === 'static' ? options.addressing : undefined;
  return {
    version: 1,
    config: decided.macs.map((mac, i) => ({
      type: 'physical',
      name: `eth${i}`,
      mac_address: mac,
      subnets: [
        i === 0 && addressing && decided.address !== undefined
          ? {
              type: isV6(decided.address) ? 'static6' : 'static',
              address: decided.address,
              ...control,
              ...(addressing.gateway === undefined ? {} : { gateway: addressing.gateway }),
              ...(addressing.nameservers.length > 0 ? { dns_nameservers: addressing.nameservers } : {}),
              ...(addressing.search.length > 0 ? { dns_search: addressing.search } : {}),
            }
          : { type: 'dhcp', ...control },
      ],
    })),
  };
}
