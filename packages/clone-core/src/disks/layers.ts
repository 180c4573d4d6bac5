/** Layers: qcow2 files that hold what changed since the layer below, and the clone's own writes on the newest. */
import { z } from 'zod';
import { OffshootError } from '../errors.ts';
import type { Shell } from '../shell/shell.ts';
import { lastPercent } from './convert.ts';
import { isEmptyLayer } from './qcow2.ts';
import { stderrOf } from './stderr.ts';

export interface Difference {
  /** Made or overwritten. */
  to: string;
  /** What the layer will show: a file, or an NBD URI. */
  content: string;
  contentFormat: string;
  /** What it will stand on. */
  onto: string;
  ontoFormat: string;
  virtualBytes: number;
}

/**
 * Makes a layer that shows `content` and stands on `onto`: reads both, stores only the sectors that differ. Resolves when
 * it is synced. Throws `no-space`, or `source-changed` when the content is open for writing elsewhere.
 */
export async function storeDifference(
  shell: Shell,
  difference: Difference,
  options: { signal: AbortSignal; onPercent: (percent: number) => void },
): Promise<void> {
  const { to, content, contentFormat, onto, ontoFormat, virtualBytes } = difference;
  try {
    await shell.run(
      // prettier-ignore
      ['qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-F', contentFormat, '-b', content, '--', to, String(virtualBytes)],
      { signal: options.signal },
    );
    await shell.run(['qemu-img', 'rebase', '-p', '-f', 'qcow2', '-F', ontoFormat, '-b', onto, '--', to], {
      signal: options.signal,
      timeoutMs: 0,
      dieWithParent: true,
      onStdout: (chunk) => {
        const percent = lastPercent(chunk);
        if (percent !== undefined) options.onPercent(percent);
      },
    });
  } catch (thrown) {
    throw meaning(thrown);
  }
  await shell.sync(to);
}

/**
 * Writes the layer's blocks into the file below it. What can be read through the layer is the same at every moment, so
 * it may be cut and run again. Both must be closed. Throws `no-space`.
 */
export async function mergeDown(shell: Shell, layer: string, signal: AbortSignal): Promise<void> {
  try {
    await shell.run(['qemu-img', 'commit', '-q', '-d', '-f', 'qcow2', '--', layer], {
      signal,
      timeoutMs: 0,
      dieWithParent: true,
    });
  } catch (thrown) {
    throw meaning(thrown);
  }
}

/** Keeps the time at which something was last written that a guest sees. */
const STAND_ON =
  'at=$(stat -c %.9Y -- "$1") && qemu-img rebase -u -f qcow2 -F "$2" -b "$3" -- "$1" && touch -c -d "@$at" -- "$1"';

/** Names another file as the one below, which must show the same: rewrites the header alone. */
export async function standOn(
  shell: Shell,
  layer: string,
  below: { path: string; format: string },
  signal: AbortSignal,
): Promise<void> {
  await shell.run(['sh', '-c', STAND_ON, 'sh', layer, below.format, below.path], { signal });
  await shell.sync(layer);
}

/** Throws `internal` unless the layer's own tables are sound. */
export async function checkLayer(shell: Shell, layer: string, signal: AbortSignal): Promise<void> {
  // 3: clusters that nothing uses, which harm nobody. https://www.qemu.org/docs/master/tools/qemu-img.html
  const { code, stdout, stderr } = await shell.run(['qemu-img', 'check', '-q', '-f', 'qcow2', '--', layer], {
    signal,
    okCodes: [0, 1, 2, 3],
    timeoutMs: 0,
  });
  if (code === 0 || code === 3) return;
  throw new OffshootError('internal', {
    publicMessage: 'What was copied is damaged, so it was thrown away; the clone is as it was.',
    remedy: 'Look at the disk of the host, then refresh again.',
    retryable: true,
    context: { layer, code, stdout, stderr },
  });
}

const mapSchema = z.array(z.object({ length: z.number(), present: z.boolean() }));

/** Guest bytes that are stored in the layer itself, zeroes included. Reads without locks. */
export async function storedIn(shell: Shell, layer: string, signal: AbortSignal): Promise<number> {
  if (await isEmptyLayer(shell, layer)) return 0;
  const alone = JSON.stringify({
    driver: 'qcow2',
    backing: null,
    file: { driver: 'file', filename: layer },
  });
  const { stdout } = await shell.run(['qemu-img', 'map', '-U', '--output=json', '--', `json:${alone}`], {
    signal,
  });
  return mapSchema
    .parse(JSON.parse(stdout))
    .reduce((sum, extent) => sum + (extent.present ? extent.length : 0), 0);
}

function meaning(thrown: unknown): unknown {
  const said = stderrOf(thrown);
  if (/No space left on device|Disk quota exceeded/i.test(said)) {
    return new OffshootError('no-space', {
      publicMessage: 'The store filled up while the changes were written; the clone is as it was.',
      remedy: 'Free space on the store, then refresh again.',
      retryable: true,
      context: { stderr: said },
      cause: thrown,
    });
  }
  if (/Failed to get .* lock|Is another process using the image/i.test(said)) {
    return new OffshootError('source-changed', {
      publicMessage:
        'The source was started, or another program opened one of the disks, in the middle of it.',
      remedy: 'Refresh again.',
      retryable: true,
      context: { stderr: said },
      cause: thrown,
    });
  }
  return thrown;
}
