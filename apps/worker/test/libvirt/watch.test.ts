/** Two guests with one machine id, made by hand beside the portal: their agents tell, and the alarm names both. */
import { chmod, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { editInside } from '@offshoot/clone-core/inside/edit';
import { lookInside } from '@offshoot/clone-core/inside/look';
import { localShell } from '@offshoot/clone-core/shell/local';
import { sharedIdentities } from '@offshoot/db/identity';
import { virsh } from '@offshoot/tools/lab/host';
import { ensureSampleImage } from '@offshoot/tools/sample-guest';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import type { PostgresUrl } from '../support/services.ts';
import { openLab, type Lab } from './support/lab.ts';

const url: PostgresUrl = inject('postgresUrl');
const cache = join(import.meta.dirname, '../../../../node_modules/.cache/offshoot');
const MACHINE_ID = 'ab'.repeat(16);

let lab: Lab;
beforeEach(async () => {
  lab = await openLab(url);
});
afterEach(() => lab.close());

/** As after `cp` of the disk of a guest that was started once. */
async function copiedDisk(name: string): Promise<string> {
  const path = join(lab.folder, `${name}.qcow2`);
  await copyFile(await ensureSampleImage(cache), path);
  const signal = AbortSignal.timeout(60_000);
  const disk = { target: 'vda', path, format: 'qcow2' };
  const { root } = await lookInside(localShell(), [disk], { store: lab.folder, signal });
  if (!root) throw new Error('the sample image holds no system');
  const write = { type: 'write', path: '/etc/machine-id', content: `${MACHINE_ID}\n`, mode: 0o444 } as const;
  await editInside(localShell(), disk, root, [write], { signal });
  await chmod(path, 0o666);
  return path;
}

it(
  'two guests with one machine id made beside the portal: the worker asks them, and the alarm names both',
  { timeout: 240_000 },
  async () => {
    await lab.worker();
    const names = ['hand-1', 'hand-2'].map((name) => `${lab.prefix}${name}`);
    for (const name of names) {
      await lab.source(name, { disks: [{ path: await copiedDisk(name) }], memoryMiB: 128, agent: true });
      await virsh('start', name);
    }
    await expect
      .poll(
        () => lab.db.pool.query('SELECT "field", "value" FROM "shared_identity"').then(({ rows }) => rows),
        {
          timeout: 200_000,
          interval: 500,
        },
      )
      .toEqual([{ field: 'machine-id', value: MACHINE_ID }]);
    // What the pages ask for.
    expect(await sharedIdentities(lab.db)).toMatchObject([
      { field: 'machine-id', value: MACHINE_ID, guests: names.map((name) => ({ name, running: true })) },
    ]);
  },
);
