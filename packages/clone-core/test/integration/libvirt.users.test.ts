/** A base is kept while anything of the host stands on it, also what Offshoot did not make. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CapturedBase } from '../../src/driver.ts';
import { failure } from '../conformance/until.ts';
import { finish, planOf } from '../conformance/workbench.ts';
import { attempt, captured, command, defineGuest, makeLab, namer, virsh, type Lab } from './libvirt.lab.ts';

const named = namer('u');
const pool = named('pool');
let lab: Lab;
let base: CapturedBase;
const image = (name: string): string => join(lab.root, name);
const removal = () => planOf(lab.driver(), { kind: 'remove-base', label: 'a base', base });
const overlay = (path: string): Promise<string> =>
  command('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base.disks[0]?.path ?? '', path);

beforeAll(async () => {
  lab = await makeLab();
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', image('source.qcow2'), '16M');
  const disks = [{ target: 'vda', path: image('source.qcow2'), format: 'qcow2' }];
  const { uuid } = await defineGuest(lab, { name: named('source'), disks });
  base = await captured(lab, { uuid, name: named('source') });
});
afterAll(async () => {
  await attempt('virsh', 'pool-destroy', pool);
  await attempt('virsh', 'pool-undefine', pool);
  await lab.destroy();
});

it('a guest that only runs on it, and one whose disk is a volume of a pool', async () => {
  await overlay(image('plugged.qcow2'));
  const disks = [{ target: 'vda', path: image('plugged.qcow2'), format: 'qcow2' }];
  const { uuid } = await defineGuest(lab, { name: named('plugged'), disks });
  await virsh('start', uuid);
  await virsh('detach-disk', uuid, 'vda', '--config');
  const inUse = { code: 'in-use', publicMessage: expect.stringContaining(named('plugged')) };
  expect(await failure(removal())).toMatchObject(inUse);
  await virsh('destroy', uuid);
  await virsh('undefine', uuid); // no file of the lab is in its definition any more
  expect((await removal()).steps).toHaveLength(1);

  await mkdir(image('pool'));
  await overlay(image('pool/volume.qcow2'));
  await virsh('pool-define-as', pool, 'dir', '--target', image('pool'));
  await virsh('pool-start', pool);
  const volume = `<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>
    <source pool='${pool}' volume='volume.qcow2'/><target dev='vda' bus='virtio'/></disk>`;
  const other = await defineGuest(lab, { name: named('volume'), disks: [], devices: volume });
  expect((await failure(removal())).publicMessage).toContain(named('volume'));
  await virsh('pool-destroy', pool); // stops it; its files stay
  expect((await failure(removal())).publicMessage).toContain(named('volume'));
  await virsh('undefine', other.uuid);
  await finish(lab.driver(), await removal());
});
