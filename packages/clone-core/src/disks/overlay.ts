/** Copy-on-write children of an immutable base. */
import type { Shell } from '../shell/shell.ts';

export interface Overlay {
  basePath: string;
  baseFormat: string;
  to: string;
  virtualBytes: number;
}

/** Makes the overlay and syncs it. The size is given, so that QEMU need not ask the base. */
export async function createOverlay(shell: Shell, overlay: Overlay, signal: AbortSignal): Promise<void> {
  const { basePath, baseFormat, to, virtualBytes } = overlay;
  await shell.run(
    [
      'qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      '-F',
      baseFormat,
      '-b',
      basePath,
      '--',
      to,
      String(virtualBytes),
    ],
    { signal },
  );
  await shell.sync(to);
}
