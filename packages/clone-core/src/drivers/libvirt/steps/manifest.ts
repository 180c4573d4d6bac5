/** What is kept beside the disks of a base, and what names it. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Shell } from '../../../shell/shell.ts';

const diskSchema = z.object({
  target: z.string(),
  path: z.string(),
  format: z.string(),
  digest: z.string(),
  blocks: z.string().exactOptional(),
  virtualBytes: z.number(),
  allocatedBytes: z.number(),
});
/** Kept beside the disks: which captures gave this content, so that a capture cut after its last effect finds itself. */
const manifestSchema = z.object({
  captureIds: z.array(z.string()),
  digest: z.string(),
  disks: z.array(diskSchema),
  nvramPath: z.string().optional(),
  memory: z
    .object({
      path: z.string(),
      digest: z.string(),
      bytes: z.number(),
      memoryBytes: z.number(),
      takenAt: z.string(),
      madeOn: z.string(),
    })
    .optional(),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** What names a base: its content and its definition. */
export function baseDigest(base: {
  disks: readonly { target: string; digest: string; blocks?: string | undefined }[];
  nvram: string | undefined;
  memory: string | undefined;
  definition: string;
}): string {
  return createHash('sha256')
    .update(
      [
        // Receivers check blocks by it, so it is as much of the name as the digest.
        ...base.disks.map(({ target, digest, blocks }) =>
          [target, digest, ...(blocks === undefined ? [] : [blocks])].join(' '),
        ),
        ...(base.nvram === undefined ? [] : [`nvram ${base.nvram}`]),
        ...(base.memory === undefined ? [] : [`memory ${base.memory}`]),
        // A version's definition is as immutable as its disks: another definition is another base.
        `definition ${createHash('sha256').update(base.definition).digest('hex')}`,
      ].join('\n'),
    )
    .digest('hex');
}

export async function readManifest(shell: Shell, folder: string): Promise<Manifest | undefined> {
  const text = await shell.readText(`${folder}/base.json`);
  return text === undefined ? undefined : manifestSchema.parse(JSON.parse(text));
}

export const writeManifest = (shell: Shell, folder: string, manifest: Manifest): Promise<void> =>
  shell.writeFile(`${folder}/base.json`, JSON.stringify(manifest, null, 2), 0o644);
