/** A guest of this machine's libvirt out into an OVA, and that in again as a template; what is refused of both. */
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ExportFormat } from '../../src/contract.ts';
import type { GuestRef, OperationRequest } from '../../src/driver.ts';
import { libvirtDriver } from '../../src/drivers/libvirt/driver.ts';
import { localShell } from '../../src/shell/local.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { finish, performUntil, planOf, userCancelled } from '../conformance/workbench.ts';
import {
  command,
  contentOf,
  defineGuest,
  exists,
  filesBelow,
  makeLab,
  namer,
  type Lab,
} from './libvirt.lab.ts';

const named = namer('x');
let lab: Lab;
let guest: GuestRef;
let disk: string;

beforeAll(async () => {
  lab = await makeLab();
  disk = join(lab.root, 'out.qcow2');
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', disk, '64M');
  await command('qemu-io', '-c', 'write -q -P 0x33 0 12M', disk);
  guest = await defineGuest(lab, {
    name: named('out'),
    disks: [{ target: 'vda', path: disk, format: 'qcow2' }],
  });
});
afterAll(async () => lab.destroy());

const importing = (imagePath: string): OperationRequest => ({
  kind: 'import',
  imagePath,
  label: 'in',
  osName: 'Linux',
  vcpus: 1,
  memoryMiB: 128,
  firmware: 'bios',
});
const exported = (format: ExportFormat): OperationRequest => ({
  kind: 'export',
  source: { type: 'guest', guest },
  label: 'out',
  format,
});

it('out as an OVA and in again: the same disk; beside it only what is said to be there', async () => {
  const { result } = await finish(lab.driver(), await planOf(lab.driver(), exported('ova')));
  const [ova] = result.exported?.files ?? [];
  if (!ova) throw new Error('nothing was exported');
  expect((await filesBelow(result.exported?.folder ?? '')).toSorted()).toEqual(
    [join(result.exported?.folder ?? '', 'SHA256SUMS'), ova.path].toSorted(),
  );
  const plan = await planOf(lab.driver(), importing(ova.path));
  const taken = await finish(lab.driver(), plan);
  const [base] = taken.result.base?.disks ?? [];
  expect(await contentOf(lab, base?.path ?? '')).toBe(await contentOf(lab, disk));
  expect((await filesBelow(lab.root)).filter((path) => path.includes('.unpack'))).toEqual([]);
});

it('cancelled before its end it leaves nothing', async () => {
  const plan = await planOf(lab.driver(), exported('ova'));
  const last = { step: plan.steps.length - 1, moment: 'before' } as const;
  const outcome = await performUntil(lab.driver(), plan, last, userCancelled(), new MemoryJournal());
  expect(outcome).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
  for (const { name } of plan.creates) expect(await exists(name)).toBe(false);
});

it('only from folders that the administrator allows, wherever a link leads', async () => {
  const driver = libvirtDriver(
    { kind: 'libvirt', store: lab.root, importFolders: [join(lab.root, 'allowed')] },
    localShell(),
  );
  await command('mkdir', '-p', join(lab.root, 'allowed'));
  await symlink(disk, join(lab.root, 'allowed/link.qcow2'));
  const { signal } = new AbortController();
  for (const path of [disk, join(lab.root, 'allowed/link.qcow2'), join(lab.root, 'allowed/../out.qcow2')])
    await expect(driver.inspect(importing(path), signal)).rejects.toMatchObject({
      code: 'not-allowed',
      field: 'imagePath',
    });
  await command('cp', disk, join(lab.root, 'allowed/copy.qcow2'));
  expect((await driver.inspect(importing(join(lab.root, 'allowed/copy.qcow2')), signal)).image?.format).toBe(
    'qcow2',
  );
});
