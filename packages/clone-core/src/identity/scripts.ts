/**
 * What runs inside a Linux guest through its agent. Constant text for any POSIX shell, BusyBox's too; everything that varies
 * comes as arguments. Each can be run again.
 */
import { DONE, PENDING, USER_SCRIPT } from './first-boot.ts';

/** Exit codes of `takeIdentity`, besides 0. */
export const LINK_IS_UP = 3;
export const NO_SUCH_NIC = 4;

/** Words that `change` understands; see `agentWords`. */
const changeFunctions = `
# Whole file or nothing: put what standard input brings in place of $1, with its mode and owner.
replace() {
  cp -p "$1" "$1.offshoot" && cat > "$1.offshoot" && mv -f "$1.offshoot" "$1"
}
change() {
  IFS=
  case $1 in
    remove=*) for file in \${1#remove=}; do [ -e "$file" ] && rm -rf "$file"; done ;;
    empty=*) for file in \${1#empty=}; do [ -f "$file" ] && : > "$file"; done ;;
    line=*)
      rest=\${1#line=} path=\${rest%%|*} rest=\${rest#*|}
      begins=\${rest%%|*} line=\${rest#*|}
      if [ -f "$path" ]; then
        while IFS= read -r text || [ -n "$text" ]; do
          bare=\${text#"\${text%%[! ]*}"}
          case $bare in "$begins"*) printf '%s\\n' "$line" ;; *) printf '%s\\n' "$text" ;; esac
        done < "$path" | replace "$path"
      fi ;;
    stop=*)
      if systemctl -q is-active "\${1#stop=}" 2> /dev/null; then
        systemctl stop "\${1#stop=}" > /dev/null 2>&1
        echo "\${1#stop=}" >> /run/offshoot-stopped
      fi ;;
    restart=*) systemctl try-restart "\${1#restart=}" > /dev/null 2>&1 ;;
    start=*)
      if grep -qx "\${1#start=}" /run/offshoot-stopped 2> /dev/null; then
        systemctl --no-block start "\${1#start=}" > /dev/null 2>&1
      fi ;;
  esac
  unset IFS
}
`;

/** Files that hold DHCP ids and addresses of the source, and random seeds. Patterns as of InsideEdit. */
export const dhcpState = [
  '/var/lib/dhcp/*.leases',
  '/var/lib/dhclient/*.lease*',
  '/var/lib/dhcpcd/*',
  '/var/lib/dhcpcd5/*',
  '/etc/dhcpcd.duid',
  '/var/lib/NetworkManager/*.lease',
  '/var/lib/NetworkManager/secret_key',
  '/var/lib/NetworkManager/timestamps',
  '/var/lib/systemd/network/*',
  '/var/lib/wicked/*.xml',
  '/var/lib/udhcpc/*',
] as const;
export const randomSeeds = [
  '/var/lib/systemd/random-seed',
  '/var/lib/urandom/random-seed',
  '/var/lib/random-seed',
  '/var/lib/seedrng/seed.*',
] as const;

/**
 * While the links are down, in a guest that goes on from another's memory or booted as its source. Arguments: host name, machine
 * id, seconds since 1970, then words: "MAC/new MAC" per network card, `fqdn=…`, and what agents need (`agentWords`); standard
 * input: random bytes. The addresses of the source go, and so do DHCP clients that hold its leases: they are noted for
 * `goOnline`. Prints the host name and each card's MAC as they are then.
 */
export const takeIdentity = `
name=$1 machine=$2 now=$3
shift 3
cat > /dev/urandom
${changeFunctions}
fqdn=
for word in "$@"; do
  case $word in fqdn=*) fqdn=\${word#fqdn=} ;; esac
done
date -u -s "@$now" > /dev/null 2>&1
for process in /proc/[0-9]*; do
  { read -r program < "$process/comm"; } 2> /dev/null || continue
  case $program in
    udhcpc | dhclient | dhcpcd)
      tr '\\0' '\\n' < "$process/cmdline" > "/run/offshoot-dhcp.\${process#/proc/}" && kill -9 "\${process#/proc/}" ;;
  esac
done
for pair in "$@"; do
  case $pair in ??:??:??:??:??:??/??:??:??:??:??:??) ;; *) continue ;; esac
  was=\${pair%/*} own=\${pair#*/} found=
  for card in /sys/class/net/*; do
    [ -e "$card/device" ] || continue
    read -r mac < "$card/address"
    case $mac in "$was" | "$own") ;; *) continue ;; esac
    found=1 device=\${card##*/}
    [ "$mac" = "$own" ] && continue
    read -r flags < "$card/flags"
    if { read -r carrier < "$card/carrier"; } 2> /dev/null && [ "$carrier" = 1 ]; then exit ${LINK_IS_UP}; fi
    ip addr flush dev "$device"
    ip link set dev "$device" down
    ip link set dev "$device" address "$own" || exit 1
    [ $((flags & 1)) = 1 ] && ip link set dev "$device" up
  done
  [ -n "$found" ] || exit ${NO_SUCH_NIC}
done
printf '%s\\n' "$name" > /proc/sys/kernel/hostname || exit 1
printf '%s\\n' "$name" > /etc/hostname
if grep -q '^127\\.0\\.1\\.1[[:space:]]' /etc/hosts 2> /dev/null; then
  sed -i "s/^127\\.0\\.1\\.1[[:space:]].*/127.0.1.1 \${fqdn:+$fqdn }$name/" /etc/hosts
elif [ -n "$fqdn" ] && [ -e /etc/hosts ]; then
  printf '127.0.1.1 %s %s\\n' "$fqdn" "$name" >> /etc/hosts
fi
[ -e /etc/machine-id ] && printf '%s\\n' "$machine" > /etc/machine-id
[ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ] && printf '%s\\n' "$machine" > /var/lib/dbus/machine-id
for file in ${dhcpState.join(' ')}; do
  [ -e "$file" ] && rm -rf "$file"
done
for file in ${randomSeeds.join(' ')}; do
  [ -f "$file" ] && head -c 512 /dev/urandom > "$file"
done
for key in /etc/ssh/ssh_host_*_key; do
  [ -e "$key" ] || continue
  rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
  ssh-keygen -A > /dev/null
  for unit in ssh sshd; do systemctl try-restart "$unit"; done > /dev/null 2>&1
  break
done
for key in /etc/dropbear/*_host_key; do
  [ -e "$key" ] || continue
  rm -f /etc/dropbear/*_host_key
  # Its listener still holds the old ones; only where init starts another is it ended.
  if grep -q 'respawn:.*dropbear' /etc/inittab 2> /dev/null; then
    for process in /proc/[0-9]*; do
      { read -r id program state parent rest < "$process/stat"; } 2> /dev/null || continue
      [ "$program" = '(dropbear)' ] && [ "$parent" = 1 ] && kill "$id"
    done
  fi
  break
done
rm -f /run/offshoot-stopped
for word in "$@"; do change "$word"; done
# Their DHCP ids come from the machine id, which they read at their start: now, while nothing can be sent.
for unit in systemd-networkd NetworkManager; do systemctl try-restart "$unit"; done > /dev/null 2>&1
sync
read -r name < /proc/sys/kernel/hostname
echo "name $name"
for card in /sys/class/net/*; do
  [ -e "$card/device" ] || continue
  read -r mac < "$card/address"
  echo "mac $mac"
done
`;

/**
 * While the links are down, in a guest that got its identity by a seed drive, before it is attested for the last time. Arguments:
 * machine id, then what agents need (`agentWords`). Puts right what cloud-init does not do or does too late: the machine id, and
 * who read the old one.
 */
export const settleSeed = `
machine=$1
shift
${changeFunctions}
read -r has < /etc/machine-id
if [ "$has" != "$machine" ] && [ -e /etc/machine-id ]; then
  printf '%s\\n' "$machine" > /etc/machine-id
  [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ] && printf '%s\\n' "$machine" > /var/lib/dbus/machine-id
  for file in ${dhcpState.join(' ')}; do
    [ -e "$file" ] && rm -rf "$file"
  done
  for unit in systemd-networkd NetworkManager; do systemctl try-restart "$unit"; done > /dev/null 2>&1
fi
rm -f /run/offshoot-stopped
for word in "$@"; do change "$word"; done
sync
`;

/**
 * Once the links are up. Argument: the host name. Starts again what asks for an address: clients that `takeIdentity` ended, and
 * those that gave up while the link was down.
 */
export const goOnline = `
name=$1
for process in /proc/[0-9]*; do
  { read -r program < "$process/comm"; } 2> /dev/null || continue
  case $program in
    dhclient)
      # Without a link it sleeps for minutes.
      tr '\\0' '\\n' < "$process/cmdline" > "/run/offshoot-dhcp.\${process#/proc/}" && kill -9 "\${process#/proc/}" ;;
    udhcpc) kill -USR1 "\${process#/proc/}" ;;
  esac
done
for noted in /run/offshoot-dhcp.*; do
  [ -e "$noted" ] || continue
  set --
  while IFS= read -r word; do
    case $word in hostname:*) word=hostname:$name ;; esac
    set -- "$@" "$word"
  done < "$noted"
  rm -f "$noted"
  "$@" < /dev/null > /dev/null 2>&1 &
done
for unit in systemd-networkd NetworkManager; do
  systemctl try-restart "$unit"
done > /dev/null 2>&1
exit 0
`;

/**
 * Prints who the guest is, one fact a line: a word, then its value. Changes nothing, but for one thing: where dropbear makes
 * its host key at the first connection, it is made now, since what is not there can't be attested. SSH keys are printed as public
 * keys, so that no program for fingerprints is needed inside.
 */
export const attest = `
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
one() { if [ -r "$2" ] && IFS= read -r value < "$2" && [ -n "$value" ]; then echo "$1 $value"; fi; }
one hostname /proc/sys/kernel/hostname
read -r name < /proc/sys/kernel/hostname
fqdn=$(hostname -f 2> /dev/null)
case $fqdn in *.*) echo "fqdn $fqdn" ;; esac
one machine-id /etc/machine-id
[ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ] && one dbus-machine-id /var/lib/dbus/machine-id
one boot-id /proc/sys/kernel/random/boot_id
for card in /sys/class/net/*; do
  [ -e "$card/device" ] && one mac "$card/address"
done
for key in /etc/ssh/ssh_host_*_key.pub; do
  [ -e "$key" ] && one ssh-key "$key"
done
if [ -d /etc/dropbear ] && command -v dropbearkey > /dev/null 2>&1; then
  set -- /etc/dropbear/*_host_key
  [ -e "$1" ] || dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key > /dev/null 2>&1
  for key in /etc/dropbear/*_host_key; do
    [ -e "$key" ] || continue
    dropbearkey -y -f "$key" 2> /dev/null | while IFS= read -r line; do
      case $line in ssh-* | ecdsa-* | sk-*) echo "ssh-key $line" ;; esac
    done
  done
fi
if command -v networkctl > /dev/null 2>&1; then
  for card in /sys/class/net/*; do
    [ -e "$card/device" ] || continue
    networkctl status --no-pager "\${card##*/}" 2> /dev/null | sed -n 's/^ *DHCP[46] Client \\(ID\\|DUID\\): */dhcp-id /p'
  done
fi
for file in /run/systemd/netif/leases/*; do
  [ -f "$file" ] && sed -n 's/^CLIENTID=/dhcp-id /p' "$file"
done
for file in /var/lib/dhcp/*.leases /var/lib/dhclient/*.lease*; do
  [ -f "$file" ] && sed -n 's/^ *option dhcp-client-identifier *\\([0-9a-f:]*\\);/dhcp-id \\1/p' "$file"
done
for file in /var/lib/dhcpcd/duid /etc/dhcpcd.duid; do
  one dhcp-id "$file"
done
ip -o addr show scope global 2> /dev/null | while read -r index device family address rest; do
  echo "address $address"
done
one instance /var/lib/cloud/data/instance-id
one instance /var/lib/instance-id
[ -r /etc/os-release ] && (. /etc/os-release; echo "os $PRETTY_NAME")
[ -e ${PENDING} ] && echo 'busy yes'
own=
{ read -r own < /etc/machine-id; } 2> /dev/null
if [ -e ${USER_SCRIPT} ]; then echo 'first-boot running'
elif { read -r code of < ${DONE}; } 2> /dev/null && [ "$of" = "$own" ]; then echo "first-boot $code"; fi
if grep -q '^127\\.0\\.1\\.1[[:space:]]' /etc/hosts 2> /dev/null; then
  if grep '^127\\.0\\.1\\.1[[:space:]]' /etc/hosts | grep -qiwF "$name"; then echo 'hosts own'; else echo 'hosts other'; fi
fi
exit 0
`;

/**
 * The same for Windows, for `powershell.exe -NoProfile -NonInteractive -EncodedCommand …`. Never run: no Windows was at hand. The machine's security identifier is that of any local account without its last part.
 */
export const attestWindows = `
$ErrorActionPreference = 'SilentlyContinue'
"hostname $env:COMPUTERNAME"
$system = Get-CimInstance -ClassName Win32_ComputerSystem
if ($system.PartOfDomain) { "fqdn $($env:COMPUTERNAME).$($system.Domain)" }
"machine-id $((Get-ItemProperty -Path 'HKLM:\\SOFTWARE\\Microsoft\\Cryptography').MachineGuid)"
$account = Get-CimInstance -ClassName Win32_UserAccount -Filter 'LocalAccount = True' | Select-Object -First 1
if ($account) { "sid $($account.SID -replace '-[0-9]+$', '')" }
Get-CimInstance -ClassName Win32_NetworkAdapter -Filter 'PhysicalAdapter = True' | ForEach-Object { "mac $($_.MACAddress)" }
Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration -Filter 'IPEnabled = True' |
  ForEach-Object { $_.IPAddress } | ForEach-Object { "address $_" }
Get-ChildItem -Path "$env:ProgramData\\ssh\\ssh_host_*_key.pub" | ForEach-Object { "ssh-key $(Get-Content -Path $_.FullName -TotalCount 1)" }
$duid = (Get-ItemProperty -Path 'HKLM:\\SYSTEM\\CurrentControlSet\\Services\\Tcpip6\\Parameters').Dhcpv6DUID
if ($duid) { "dhcp-id $([System.BitConverter]::ToString($duid))" }
"os $((Get-CimInstance -ClassName Win32_OperatingSystem).Caption)"
exit 0
`;
