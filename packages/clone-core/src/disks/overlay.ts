/** Copy-on-write children of an immutable base. */
import type { Shell } from '../shell/shell.ts';
import { emptyLayer } from './qcow2.ts';

export interface Overlay {
  basePath: string;
  baseFormat: string;
  to: string;
  virtualBytes: number;
}

/** Makes the overlay and syncs it, in place of what is there. Throws `command-failed` when its base is not there. */
export async function createOverlay(shell: Shell, overlay: Overlay, signal: AbortSignal): Promise<void> {
  const { basePath, baseFormat, to, virtualBytes } = overlay;
  signal.throwIfAborted();
  const image = emptyLayer({ path: basePath, format: baseFormat }, virtualBytes);
  if (image && basePath.startsWith('/') && (await shell.stat(basePath))?.type === 'file') {
    await shell.writeFile(to, image);
    return;
  }
  // QEMU says what is wrong. The size is given, so that it need not ask the base.
  const files = ['-F', baseFormat, '-b', basePath, '--', to, String(virtualBytes)];
  await shell.run(['qemu-img', 'create', '-q', '-f', 'qcow2', ...files], { signal });
  await shell.sync(to);
}
