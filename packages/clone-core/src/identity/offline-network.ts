/** Network configuration in the disk of a Linux: bound to the clone's cards, with its static address. */
import { netmaskOf, readAddress } from './addresses.ts';
import type { DecidedIdentity, IdentityOptions, NetworkStack } from './contract.ts';
import type { InsideEdit } from './edits.ts';
import { FOLDER } from './first-boot.ts';

/** Where MACs stand in configuration. */
const boundFiles = [
  '/etc/netplan/*',
  '/etc/systemd/network/*',
  '/etc/NetworkManager/system-connections/*',
  '/etc/sysconfig/network-scripts/ifcfg-*',
  '/etc/sysconfig/network/ifcfg-*',
  '/etc/network/interfaces',
  '/etc/network/interfaces.d/*',
  '/etc/udev/rules.d/*',
] as const;

export function networkEdits(question: {
  decided: Pick<DecidedIdentity, 'macs' | 'address'>;
  options: Pick<IdentityOptions, 'addressing'>;
  inside: { init?: string; network?: NetworkStack[] };
  was: readonly string[];
}): InsideEdit[] {
  return [...boundEdits(question.decided, question.was), ...staticEdits(question)];
}

/** Configuration that is bound to the source's cards, bound to the clone's. */
export function boundEdits(decided: Pick<DecidedIdentity, 'macs'>, was: readonly string[]): InsideEdit[] {
  return decided.macs.flatMap((mac, i) => {
    const old = was[i];
    return old === undefined || old === mac
      ? []
      : boundFiles.map((pattern): InsideEdit => ({ type: 'replace', pattern, from: old, to: mac }));
  });
}

interface Static {
  mac: string;
  /** With prefix length. */
  address: string;
  v6: boolean;
  gateway?: string;
  nameservers: string[];
  search: string[];
  others: string[];
}

function staticEdits(question: Parameters<typeof networkEdits>[0]): InsideEdit[] {
  const { decided, options, inside } = question;
  const [mac, ...others] = decided.macs;
  if (options.addressing?.type !== 'static' || decided.address === undefined || mac === undefined) return [];
  const { gateway, nameservers, search } = options.addressing;
  const wanted: Static = {
    mac,
    address: decided.address,
    v6: decided.address.includes(':'),
    ...(gateway === undefined ? {} : { gateway }),
    nameservers,
    search,
    others,
  };
  if (inside.init === 'busybox') return busybox(wanted);
  const stacks = inside.network ?? [];
  const edits: InsideEdit[] = [];
  if (stacks.includes('ifupdown')) edits.push(ifupdown(wanted));
  if (stacks.includes('ifcfg')) edits.push(...ifcfg(wanted));
  if (stacks.includes('networkmanager') || stacks.length === 0) edits.push(networkManager(wanted));
  if (stacks.includes('networkd') || stacks.includes('netplan') || stacks.length === 0)
    edits.push(networkd(wanted));
  return edits;
}

const write = (path: string, lines: readonly (string | undefined)[], mode = 0o644): InsideEdit => ({
  type: 'write',
  path,
  content: `${lines.filter((line) => line !== undefined).join('\n')}\n`,
  mode,
});

/** The first file by name that matches a card wins, wherever it is (systemd.network(5)): before netplan's 10-netplan-*. */
const networkd = (wanted: Static): InsideEdit =>
  write('/etc/systemd/network/05-offshoot.network', [
    '[Match]',
    `MACAddress=${wanted.mac}`,
    '',
    '[Network]',
    `Address=${wanted.address}`,
    wanted.gateway && `Gateway=${wanted.gateway}`,
    ...wanted.nameservers.map((server) => `DNS=${server}`),
    wanted.search.length > 0 ? `Domains=${wanted.search.join(' ')}` : undefined,
  ]);

/** Keyfile (nm-settings-keyfile(5)): read only when nobody else may. */
function networkManager(wanted: Static): InsideEdit {
  const family = (on: boolean, ip: string): (string | undefined)[] => [
    '',
    `[${ip}]`,
    `method=${on ? 'manual' : ip === 'ipv6' ? 'auto' : 'disabled'}`,
    on ? `address1=${wanted.address}${wanted.gateway === undefined ? '' : `,${wanted.gateway}`}` : undefined,
    on && wanted.nameservers.length > 0 ? `dns=${wanted.nameservers.join(';')};` : undefined,
    on && wanted.search.length > 0 ? `dns-search=${wanted.search.join(';')};` : undefined,
  ];
  return write(
    '/etc/NetworkManager/system-connections/offshoot.nmconnection',
    [
      '[connection]',
      'id=offshoot',
      'type=ethernet',
      'autoconnect-priority=100',
      '',
      '[ethernet]',
      `mac-address=${wanted.mac}`,
      ...family(!wanted.v6, 'ipv4'),
      ...family(wanted.v6, 'ipv6'),
    ],
    0o600,
  );
}

/**
 * interfaces(5) of ifupdown 0.8.41: `/mac/…=name` binds a card to a stanza, whatever the card is called. The file is replaced,
 * because a second stanza for the same card would ask DHCP besides.
 */
const ifupdown = (wanted: Static): InsideEdit =>
  write('/etc/network/interfaces', [
    'auto lo',
    'iface lo inet loopback',
    '',
    `auto /mac/${wanted.mac}=offshoot`,
    `iface offshoot ${wanted.v6 ? 'inet6' : 'inet'} static`,
    `  address ${wanted.address}`,
    wanted.gateway && `  gateway ${wanted.gateway}`,
    wanted.nameservers.length > 0 ? `  dns-nameservers ${wanted.nameservers.join(' ')}` : undefined,
    wanted.search.length > 0 ? `  dns-search ${wanted.search.join(' ')}` : undefined,
    ...wanted.others.flatMap((mac, i) => [
      '',
      `allow-hotplug /mac/${mac}=offshoot${i + 1}`,
      `iface offshoot${i + 1} inet dhcp`,
    ]),
  ]);

function ifcfg(wanted: Static): InsideEdit[] {
  const [ip = ''] = wanted.address.split('/');
  const prefix = readAddress(wanted.address)?.prefix ?? 24;
  return [
    { type: 'remove', pattern: '/etc/sysconfig/network-scripts/ifcfg-e*' },
    write('/etc/sysconfig/network-scripts/ifcfg-offshoot', [
      'NAME=offshoot',
      'TYPE=Ethernet',
      'ONBOOT=yes',
      `HWADDR=${wanted.mac}`,
      'BOOTPROTO=none',
      ...(wanted.v6
        ? ['IPV6INIT=yes', `IPV6ADDR=${wanted.address}`, wanted.gateway && `IPV6_DEFAULTGW=${wanted.gateway}`]
        : [
            `IPADDR=${ip}`,
            `PREFIX=${prefix}`,
            `NETMASK=${netmaskOf(prefix)}`,
            wanted.gateway && `GATEWAY=${wanted.gateway}`,
          ]),
      ...wanted.nameservers.map((server, i) => `DNS${i + 1}=${server}`),
      wanted.search.length > 0 ? `DOMAIN="${wanted.search.join(' ')}"` : undefined,
    ]),
  ];
}

/** A busybox init has no network configuration of its own: a script of ours sets the address at every start. */
export const staticAddressScript = `#!/bin/sh
# Written by Offshoot: the static address of this machine.
. ${FOLDER}/address
for card in /sys/class/net/*; do
  [ -e "$card/device" ] || continue
  read -r mac < "$card/address"
  [ "$mac" = "$MAC" ] || continue
  device=\${card##*/}
  for process in /proc/[0-9]*; do
    { read -r program < "$process/comm"; } 2> /dev/null || continue
    [ "$program" = udhcpc ] || continue
    tr '\\0' ' ' < "$process/cmdline" | grep -q -- "-i $device " && kill "\${process#/proc/}"
  done
  ip addr flush dev "$device"
  ip link set dev "$device" up
  ip addr add "$ADDRESS" dev "$device"
  [ -n "$GATEWAY" ] && ip route replace default via "$GATEWAY" dev "$device"
  if [ -n "$NAMESERVERS$SEARCH" ]; then
    : > /etc/resolv.conf
    [ -n "$SEARCH" ] && echo "search $SEARCH" >> /etc/resolv.conf
    for server in $NAMESERVERS; do echo "nameserver $server" >> /etc/resolv.conf; done
  fi
done
exit 0
`;

function busybox(wanted: Static): InsideEdit[] {
  return [
    write(`${FOLDER}/static-address`, [staticAddressScript.trimEnd()], 0o755),
    write(`${FOLDER}/address`, [
      `MAC='${wanted.mac}'`,
      `ADDRESS='${wanted.address}'`,
      `GATEWAY='${wanted.gateway ?? ''}'`,
      `NAMESERVERS='${wanted.nameservers.join(' ')}'`,
      `SEARCH='${wanted.search.join(' ')}'`,
    ]),
    {
      type: 'line',
      path: '/etc/inittab',
      match: 'offshoot/static-address',
      line: `::wait:/bin/sh ${FOLDER}/static-address`,
      add: true,
    },
  ];
}
