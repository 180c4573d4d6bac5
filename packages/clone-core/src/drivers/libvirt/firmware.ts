/** Where distributions keep UEFI firmware without enrolled keys, the way Debian, Fedora and openSUSE name it. */
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';

const places = [
  { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', vars: '/usr/share/OVMF/OVMF_VARS_4M.fd' },
  { code: '/usr/share/OVMF/OVMF_CODE.fd', vars: '/usr/share/OVMF/OVMF_VARS.fd' },
  { code: '/usr/share/edk2/ovmf/OVMF_CODE.fd', vars: '/usr/share/edk2/ovmf/OVMF_VARS.fd' },
  { code: '/usr/share/qemu/ovmf-x86_64-code.bin', vars: '/usr/share/qemu/ovmf-x86_64-vars.bin' },
];

/** Throws `not-found` when the host has no UEFI firmware. */
export async function findFirmware(shell: Shell): Promise<{ code: string; vars: string }> {
  for (const place of places)
    if ((await shell.stat(place.code)) && (await shell.stat(place.vars))) return place;
  throw new OffshootError('not-found', {
    publicMessage: `There is no UEFI firmware on ${shell.where}.`,
    remedy: 'Install the package ovmf there, or import with BIOS.',
    field: 'firmware',
  });
}
