/**
 * What a Linux guest does once, inside, at its first start: constant scripts that read their data from files beside them. Used
 * where no cloud-init does it, and for what must wait for the network.
 */
import type { GuestInside, IdentityOptions } from './contract.ts';

/** Folder of the scripts and their data; gone when all is done. */
export const FOLDER = '/var/lib/offshoot';
export const SCRIPT = `${FOLDER}/first-boot`;
/** The user's, until it has ended. */
export const USER_SCRIPT = `${FOLDER}/script`;
export const LOG = '/var/log/offshoot-first-boot.log';
/** There until `early` has ended. */
export const PENDING = `${FOLDER}/pending`;
/** Holds the exit code of the user's script and whose it is (a machine id: a clone has its source's files), when all is done. */
export const DONE = `${FOLDER}/first-boot.done`;

/**
 * Phases: `early` before anyone can log in (host keys, users, time zone, locale), `late` when there is a network (packages,
 * the user's script), `later`: starts `late` and does not wait for it. Each phase can be run again. For any POSIX shell.
 */
export const firstBootScript = `#!/bin/sh
# Written by Offshoot: gives this machine its own keys, users and first-boot work, once.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
here=${FOLDER}
umask 022

say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >> ${LOG}; }
has() { command -v "$1" > /dev/null 2>&1; }

host_keys() {
  for file in /etc/ssh/ssh_host_*_key; do [ -e "$file" ] && return; done
  [ -d /etc/ssh ] && has ssh-keygen || return 0
  ssh-keygen -A > /dev/null && say 'made new SSH host keys'
}

add_user() {
  user=$1
  grep -q "^$user:" /etc/passwd && return
  shell=/bin/sh
  [ -x /bin/bash ] && shell=/bin/bash
  if has useradd; then useradd -m -s "$shell" "$user"
  elif has adduser; then adduser -D -s "$shell" "$user"
  else by_hand "$user" "$shell"; fi || { say "could not add user $user"; return 1; }
  # Not the lock that some SSH servers refuse keys for (!): a password that none fits.
  set_hash "$user" '*'
  say "added user $user"
}

# A system without any program for it.
by_hand() {
  id=1000
  while grep -q "^[^:]*:[^:]*:$id:" /etc/passwd /etc/group; do id=$((id + 1)); done
  if [ -e /etc/shadow ]; then printf '%s:*:19000:0:99999:7:::\\n' "$1" >> /etc/shadow; fi
  printf '%s:x:%s:\\n' "$1" "$id" >> /etc/group
  printf '%s:x:%s:%s::/home/%s:%s\\n' "$1" "$id" "$id" "$1" "$2" >> /etc/passwd
  mkdir -p "/home/$1" && chown "$id:$id" "/home/$1"
}

set_hash() {
  if has usermod; then usermod -p "$2" "$1"
  elif has chpasswd; then printf '%s:%s\\n' "$1" "$2" | chpasswd -e
  elif grep -qs "^$1:" /etc/shadow; then sed -i "s|^$1:[^:]*:|$1:$2:|" /etc/shadow
  else sed -i "s|^$1:[^:]*:|$1:$2:|" /etc/passwd; fi > /dev/null 2>&1 || say "could not set the password of $1"
}

add_keys() {
  home=$(grep "^$1:" /etc/passwd | cut -d: -f6)
  [ -n "$home" ] || return 0
  mkdir -p "$home/.ssh" && chmod 700 "$home/.ssh"
  while IFS= read -r key; do
    grep -qxF "$key" "$home/.ssh/authorized_keys" 2> /dev/null || printf '%s\\n' "$key" >> "$home/.ssh/authorized_keys"
  done < "$2"
  chmod 600 "$home/.ssh/authorized_keys"
  chown -R "$1:" "$home/.ssh" 2> /dev/null || chown -R "$1" "$home/.ssh"
}

make_admin() {
  [ "$1" = root ] && return
  if [ -d /etc/sudoers.d ]; then
    (umask 337; printf '%s ALL=(ALL) NOPASSWD:ALL\\n' "$1" > "/etc/sudoers.d/90-offshoot-$1")
  elif [ -d /etc/doas.d ]; then
    (umask 377; printf 'permit nopass %s\\n' "$1" > "/etc/doas.d/offshoot-$1.conf")
  else say "no sudo and no doas: $1 can't become root"; fi
}

early() {
  host_keys
  for file in "$here"/users/*; do
    [ -d "$file" ] || continue
    user=\${file##*/}
    add_user "$user" || continue
    [ -e "$file/hash" ] && { IFS= read -r hash < "$file/hash"; set_hash "$user" "$hash"; }
    [ -e "$file/keys" ] && add_keys "$user" "$file/keys"
    [ -e "$file/admin" ] && make_admin "$user"
  done
  rm -rf "$here/users"
  if [ -e "$here/timezone" ]; then
    IFS= read -r zone < "$here/timezone"
    if [ -e "/usr/share/zoneinfo/$zone" ]; then
      ln -sf "/usr/share/zoneinfo/$zone" /etc/localtime
      if [ -e /etc/timezone ]; then printf '%s\\n' "$zone" > /etc/timezone; fi
    else say "no time zone $zone here"; fi
    rm -f "$here/timezone"
  fi
  if [ -e "$here/locale" ]; then
    IFS= read -r locale < "$here/locale"
    if [ -d /etc/default ] && [ ! -e /etc/locale.conf ]; then file=/etc/default/locale; else file=/etc/locale.conf; fi
    printf 'LANG=%s\\n' "$locale" > "$file"
    if [ -e /etc/locale.gen ] && has locale-gen; then
      grep -qs "^$locale " /etc/locale.gen || printf '%s UTF-8\\n' "$locale" >> /etc/locale.gen
      locale-gen > /dev/null 2>&1 || say "could not make the locale $locale"
    fi
    rm -f "$here/locale"
  fi
  rm -f ${PENDING}
  sync
  if [ -e "$here/packages" ] || [ -e "$here/script" ]; then later; else finish 0; fi
}

later() {
  if [ -d /run/systemd/system ] && has systemd-run; then
    systemd-run --no-block --collect --unit=offshoot-first-boot-late /bin/sh ${SCRIPT} late && return
  fi
  if has setsid; then setsid /bin/sh ${SCRIPT} late < /dev/null > /dev/null 2>&1 &
  else /bin/sh ${SCRIPT} late < /dev/null > /dev/null 2>&1 & fi
}

online() { [ -n "$(ip route show default 2> /dev/null)$(ip -6 route show default 2> /dev/null)" ]; }

install_packages() {
  set -- $(cat "$here/packages")
  say "installing $*"
  if has apt-get; then
    DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND
    apt-get -q update && apt-get -qy install "$@"
  elif has dnf; then dnf -y install "$@"
  elif has yum; then yum -y install "$@"
  elif has zypper; then zypper -n install "$@"
  elif has apk; then apk add "$@"
  elif has pacman; then pacman -Sy --noconfirm "$@"
  else echo 'no package manager known here'; false; fi >> ${LOG} 2>&1 || say 'not all packages were installed'
}

late() {
  mkdir /run/offshoot-first-boot 2> /dev/null || exit 0
  waited=0
  until online || [ $waited -ge 600 ]; do sleep 1; waited=$((waited + 1)); done
  online || say 'no network after 600 s: going on without'
  [ -e "$here/packages" ] && install_packages
  code=0
  if [ -e "$here/script" ]; then
    say 'running the first-boot script'
    chmod 700 "$here/script"
    "$here/script" >> ${LOG} 2>&1
    code=$?
    say "the first-boot script ended with $code"
  fi
  finish $code
}

finish() {
  sed -i '/offshoot\\/first-boot/d' /etc/inittab 2> /dev/null
  rm -f /etc/systemd/system/offshoot-first-boot.service /etc/systemd/system/multi-user.target.d/offshoot.conf /etc/local.d/offshoot.start
  rm -f /etc/systemd/system/systemd-networkd-wait-online.service.d/offshoot.conf
  rmdir /etc/systemd/system/multi-user.target.d /etc/systemd/system/systemd-networkd-wait-online.service.d 2> /dev/null
  rm -rf "$here/packages" "$here/script" ${SCRIPT}
  own=
  { read -r own < /etc/machine-id; } 2> /dev/null
  printf '%s %s\\n' "$1" "$own" > ${DONE}
  sync
}

case $1 in
  early | late | later) "$1" ;;
  *) echo "usage: $0 early|late|later" >&2; exit 2 ;;
esac
`;

/** What starts `early` under systemd: before SSH serves. Not before its sockets, which basic.target waits for, as this does for it. */
export const firstBootUnit = `[Unit]
Description=First start of this clone
ConditionPathExists=${SCRIPT}
After=local-fs.target
Before=ssh.service sshd.service dropbear.service systemd-user-sessions.service

[Service]
Type=oneshot
ExecStart=/bin/sh ${SCRIPT} early
TimeoutStartSec=120
`;
export const firstBootUnitPath = '/etc/systemd/system/offshoot-first-boot.service';
/** In place of a link in multi-user.target.wants. */
export const firstBootWants = {
  path: '/etc/systemd/system/multi-user.target.d/offshoot.conf',
  content: '[Unit]\nWants=offshoot-first-boot.service\n',
};

export interface GuestFile {
  path: string;
  content: string;
  mode: number;
}

/** The script as the guest runs it: a file from Windows has line ends that no interpreter line survives. */
export const userScript = (text: string): string => text.replaceAll('\r\n', '\n');

/** Data of the `late` phase. */
export function lateFiles(options: Pick<IdentityOptions, 'packages' | 'firstBootScript'>): GuestFile[] {
  const files: GuestFile[] = [];
  if (options.packages.length > 0)
    files.push({ path: `${FOLDER}/packages`, content: `${options.packages.join('\n')}\n`, mode: 0o644 });
  if (options.firstBootScript !== undefined)
    files.push({ path: USER_SCRIPT, content: userScript(options.firstBootScript), mode: 0o700 });
  return files;
}

/** Data of the `early` phase. */
export function earlyFiles(options: Pick<IdentityOptions, 'users' | 'timezone' | 'locale'>): GuestFile[] {
  const files: GuestFile[] = options.users.flatMap((user) => {
    const folder = `${FOLDER}/users/${user.name}`;
    return [
      // Alone it already makes the user.
      { path: `${folder}/name`, content: `${user.name}\n`, mode: 0o644 },
      ...(user.sshKeys.length > 0
        ? [{ path: `${folder}/keys`, content: `${user.sshKeys.join('\n')}\n`, mode: 0o644 }]
        : []),
      ...(user.passwordHash === undefined
        ? []
        : [{ path: `${folder}/hash`, content: `${user.passwordHash}\n`, mode: 0o600 }]),
      ...(user.administrator ? [{ path: `${folder}/admin`, content: '', mode: 0o644 }] : []),
    ];
  });
  if (options.timezone !== undefined)
    files.push({ path: `${FOLDER}/timezone`, content: `${options.timezone}\n`, mode: 0o644 });
  if (options.locale !== undefined)
    files.push({ path: `${FOLDER}/locale`, content: `${options.locale}\n`, mode: 0o644 });
  return files;
}

/** Whether something of Offshoot can be started in such a guest at its first start. */
export const canRunFirstBoot = (init: GuestInside['init']): boolean =>
  init === 'systemd' || init === 'busybox' || init === 'openrc';

/**
 * The same work in a running guest, through its agent: `script` for `/bin/sh -c`, `input` for its standard input. Undefined:
 * nothing of the kind was asked for. What is there already is not waited for: `late` goes on by itself.
 */
export function firstBootByAgent(options: IdentityOptions): { script: string; input: string } | undefined {
  const work = [...earlyFiles(options), ...lateFiles(options)];
  if (work.length === 0) return undefined;
  const files = [{ path: SCRIPT, content: firstBootScript, mode: 0o755 }, ...work];
  const lines = files.map(
    ({ path, content, mode }) => `${mode.toString(8)} ${path} ${Buffer.from(content).toString('base64')}`,
  );
  return { script: unpackAndStart, input: `${lines.join('\n')}\n` };
}

/** Standard input: a line "mode path base64" per file. */
const unpackAndStart = `
umask 077
while read -r mode path content; do
  case $path in ${FOLDER}/*) ;; *) exit 2 ;; esac
  mkdir -p "\${path%/*}" || exit 1
  printf '%s' "$content" | base64 -d > "$path" || exit 1
  chmod "$mode" "$path"
done
chmod 755 ${FOLDER}
exec /bin/sh ${SCRIPT} early
`;
