import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';

/** Digest of a file on the host, hex, by coreutils' sha256sum. */
export async function sha256(shell: Shell, path: string, signal: AbortSignal): Promise<string> {
  const { stdout } = await shell.run(['sha256sum', '--binary', '--', path], {
    signal,
    timeoutMs: 0,
    dieWithParent: true,
  });
  const digest = /^\\?([0-9a-f]{64})/.exec(stdout)?.[1];
  if (digest !== undefined) return digest;
  throw new OffshootError('internal', { publicMessage: 'sha256sum gave no digest.', context: { stdout } });
}
