/** How a guest's name becomes the names that it has inside. */

/**
 * The host name of a guest: lower case; every run of characters that host names can't hold (dots, underscores) becomes one
 * dash; no dash at either end; at most 63 characters (RFC 1123). Digits alone would be taken for an address: `guest-` is put
 * before them. `localhost` means every machine: the same.
 */
export function hostnameOf(name: string): string {
  const label = name.toLowerCase().replaceAll(/[^a-z0-9-]+/g, '-');
  const unfit = /^[-0-9]*$/.test(label) && !/[0-9]-+[0-9]/.test(label);
  return (unfit || label === 'localhost' ? `guest-${label}` : label).slice(0, 63).replaceAll(/^-+|-+$/g, '');
}

/** NetBIOS: at most 15 characters. */
const COMPUTER_NAME = 15;

/**
 * The Windows computer name of a guest. Of a host name that is too long, the number at its end stays whole and what is before
 * it is cut: `windows-classroom-07` becomes `windows-clas-07`.
 */
export function computerNameOf(name: string): string {
  const host = hostnameOf(name);
  if (host.length <= COMPUTER_NAME) return host;
  const [end = ''] = /-?[0-9]{1,8}$/.exec(host) ?? [];
  const cut = `${host.slice(0, COMPUTER_NAME - end.length).replace(/-+$/, '')}${end}`.replace(/-+$/, '');
  // Digits alone, Windows takes for none.
  return /^[0-9]+$/.test(cut) ? `w${cut.slice(1 - COMPUTER_NAME)}` : cut;
}
