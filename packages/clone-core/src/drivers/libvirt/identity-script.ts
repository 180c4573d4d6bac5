/**
 * What runs inside a Linux guest that goes on from another's memory, through its agent, to make it a guest of its own.
 * Constant text for any POSIX shell, BusyBox's too; everything that varies comes as arguments. Each can be run again.
 */

/** Exit codes of `takeIdentity`, besides 0. */
export const LINK_IS_UP = 3;
export const NO_SUCH_NIC = 4;

/**
 * While the links are down. Arguments: host name, machine id, seconds since 1970, then "MAC/new MAC" per network card;
 * standard input: random bytes. The addresses of the source go, and so do DHCP clients that hold its leases: they are
 * noted for `goOnline`. Prints the host name and each card's MAC as they are then.
 */
export const takeIdentity = `
name=$1 machine=$2 now=$3
shift 3
cat > /dev/urandom
date -u -s "@$now" > /dev/null 2>&1
for process in /proc/[0-9]*; do
  { read -r program < "$process/comm"; } 2> /dev/null || continue
  case $program in
    udhcpc | dhclient | dhcpcd)
      tr '\\0' '\\n' < "$process/cmdline" > "/run/offshoot-dhcp.\${process#/proc/}" && kill -9 "\${process#/proc/}" ;;
  esac
done
for pair in "$@"; do
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
  sed -i "s/^127\\.0\\.1\\.1[[:space:]].*/127.0.1.1 $name/" /etc/hosts
fi
[ -e /etc/machine-id ] && printf '%s\\n' "$machine" > /etc/machine-id
[ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ] && printf '%s\\n' "$machine" > /var/lib/dbus/machine-id
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
sync
read -r name < /proc/sys/kernel/hostname
echo "name $name"
for card in /sys/class/net/*; do
  [ -e "$card/device" ] || continue
  read -r mac < "$card/address"
  echo "mac $mac"
done
`;

/** Once the links are up. Argument: the host name. Starts again what asks for an address. */
export const goOnline = `
name=$1
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
