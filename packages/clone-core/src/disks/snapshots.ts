/** Snapshots inside a qcow2 file. */
import { z } from 'zod';
import { explainImage } from './chain.ts';
import type { Shell } from '../shell/shell.ts';

const infoSchema = z.object({
  snapshots: z.array(z.object({ name: z.string() })).optional(),
});

/** Names of the snapshots inside the file, whoever made them. Reads without a lock (`-U`): only the header is read. */
export async function snapshotsIn(
  shell: Shell,
  disk: { path: string; format: string; label: string },
  signal: AbortSignal,
): Promise<string[]> {
  if (disk.format !== 'qcow2') return [];
  try {
    const { stdout } = await shell.run(
      ['qemu-img', 'info', '-U', '--output=json', '-f', disk.format, '--', disk.path],
      { signal },
    );
    return (infoSchema.parse(JSON.parse(stdout)).snapshots ?? []).map(({ name }) => name);
  } catch (thrown) {
    throw explainImage(thrown, disk);
  }
}
