/** Snapshots inside a qcow2 file. */
import { z } from 'zod';
import { explainImage } from './chain.ts';
import type { Shell } from '../shell/shell.ts';

const infoSchema = z.object({
  snapshots: z.array(z.object({ name: z.string(), 'vm-state-size': z.number() })).optional(),
});

export interface InnerSnapshot {
  name: string;
  /** Of the memory saved with it; 0: none. */
  memoryBytes: number;
}

/** The snapshots inside the file, whoever made them. Reads without a lock (`-U`): only the header is read. */
export async function snapshotsIn(
  shell: Shell,
  disk: { path: string; format: string; label: string },
  signal: AbortSignal,
): Promise<InnerSnapshot[]> {
  if (disk.format !== 'qcow2') return [];
  try {
    const { stdout } = await shell.run(
      ['qemu-img', 'info', '-U', '--output=json', '-f', disk.format, '--', disk.path],
      { signal },
    );
    return (infoSchema.parse(JSON.parse(stdout)).snapshots ?? []).map((each) => ({
      name: each.name,
      memoryBytes: each['vm-state-size'],
    }));
  } catch (thrown) {
    throw explainImage(thrown, disk);
  }
}
