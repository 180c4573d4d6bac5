/** Looks at an image file that is to become a template. */
import { readImage } from '../../disks/image.ts';
import type { OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';
import { findFirmware } from './firmware.ts';
import type { Reader } from './inspect.ts';
import type { LibvirtFacts } from './types.ts';

/** @throws OffshootError as `readImage`, and `not-allowed` (field `imagePath`), `not-found` (no firmware) */
export async function inspectImage(
  { shell, importFolders }: Reader,
  request: Extract<OperationRequest, { kind: 'import' }>,
  signal: AbortSignal,
): Promise<Pick<LibvirtFacts, 'image' | 'firmware'>> {
  const file = await readImage(shell, await allowedPath(shell, request.imagePath, importFolders), signal);
  const firmware = request.firmware === 'uefi' ? await findFirmware(shell) : undefined;
  return {
    image: {
      path: file.path,
      format: file.format,
      virtualBytes: file.virtualBytes,
      allocatedBytes: file.allocated,
      modifiedMs: file.modifiedMs,
      ...(file.disks ? { disks: file.disks } : {}),
    },
    ...(firmware ? { firmware } : {}),
  };
}

/** Where the image really is. Throws `not-allowed` (field `imagePath`) outside of the folders that may be imported from. */
async function allowedPath(
  shell: Shell,
  path: string,
  folders: readonly string[] | undefined,
): Promise<string> {
  if (folders === undefined || !(await shell.stat(path))) return path;
  const real = (
    await shell.run(['realpath', '--canonicalize-existing', '--zero', '--', path])
  ).stdout.replace(/\0$/, '');
  if (folders.some((folder) => real.startsWith(`${folder}/`))) return real;
  throw new OffshootError('not-allowed', {
    publicMessage: `${path} is in no folder that images may be imported from on this host.`,
    remedy: `Put it into ${folders.join(' or ')}, or have OFFSHOOT_IMPORT_FOLDERS changed for the host’s worker.`,
    field: 'imagePath',
  });
}
