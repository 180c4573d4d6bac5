/** What the driver runs in a Linux guest besides the scripts of `identity/`. Constant text for any POSIX shell. */

/**
 * While the links are down: a boot that waits minutes for the network goes on without. DHCP clients are noted, with their
 * words, for `goOnline`, and ended.
 */
export const stopWaiting = `
for process in /proc/[0-9]*; do
  { read -r program < "$process/comm"; } 2> /dev/null || continue
  case $program in
    udhcpc | dhclient | dhcpcd)
      tr '\\0' '\\n' < "$process/cmdline" > "/run/offshoot-dhcp.\${process#/proc/}" && kill -9 "\${process#/proc/}" ;;
  esac
done
for unit in systemd-networkd-wait-online NetworkManager-wait-online; do
  systemctl --no-block stop "$unit.service"
done > /dev/null 2>&1
exit 0
`;
