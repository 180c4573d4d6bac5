/** Sources of many kinds on this machine's real libvirt: good ones are cloned, bad ones refused in words. */
import { copyFile, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuestRef } from '../../src/driver.ts';
import { failure, until } from '../conformance/until.ts';
import { cloneOf, finish, options, planOf } from '../conformance/workbench.ts';
import {
  attempt,
  command,
  contentOf,
  defineGuest,
  inGuest,
  makeLab,
  sampleImage,
  startGuest,
  virsh,
  type GuestShape,
  type Lab,
} from './libvirt.lab.ts';

let lab: Lab;
let sample: string;
const image = (name: string): string => join(lab.root, name);
const run = process.pid.toString(36);
const named = (name: string): string => `t${run}-${name}`;
const refOf = (guest: { uuid: string; name: string }): GuestRef => ({ uuid: guest.uuid, name: guest.name });

beforeAll(async () => {
  sample = await sampleImage();
  lab = await makeLab();
});
afterAll(async () => lab.destroy());

async function bootable(name: string, part: Partial<GuestShape> = {}): Promise<GuestRef> {
  const path = image(`${name}.qcow2`);
  await copyFile(sample, path);
  const shape = { name: named(name), disks: [{ target: 'vda', path, format: 'qcow2' }], ...part };
  return refOf(await defineGuest(lab, shape));
}

async function clone(guest: GuestRef, name: string, part = {}, inLab = lab) {
  const driver = inLab.driver();
  const plan = await planOf(driver, cloneOf(guest, named(name), part), name);
  return { plan, result: (await finish(driver, plan)).result };
}

it('a UEFI guest with TPM and disks on three buses: its clone boots and is as its source', async () => {
  const data = [
    { target: 'sda', path: image('uefi-sda.raw'), format: 'raw', bus: 'sata' },
    { target: 'sdb', path: image('uefi-sdb.qcow2'), format: 'qcow2', bus: 'scsi' },
  ];
  await command('truncate', '-s', '8M', data[0]?.path ?? '');
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', data[1]?.path ?? '', '8M');
  await command('qemu-io', '-f', 'raw', '-c', 'write -q -P 7 1M 1M', data[0]?.path ?? '');
  await copyFile(sample, image('uefi.qcow2'));
  const guest = refOf(
    await defineGuest(lab, {
      name: named('uefi'),
      nics: 2,
      memoryMiB: 256, // the firmware takes its part
      disks: [{ target: 'vda', path: image('uefi.qcow2'), format: 'qcow2' }, ...data],
      os: `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>${image('uefi_VARS.fd')}</nvram>`,
      devices: "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>",
    }),
  );
  await startGuest(guest.name); // makes NVRAM and TPM state
  await virsh('destroy', guest.name);
  const { plan, result } = await clone(guest, 'uefi-clone', {
    start: true,
    tpm: 'copy',
    agentTimeoutSeconds: 150,
  });
  expect(result.agentMs).toBeGreaterThan(0);
  const xml = await virsh('dumpxml', '--inactive', named('uefi-clone'));
  expect(xml).toContain(`${lab.store}/nvram/`);
  expect(xml).not.toContain(image('uefi'));
  const copies = plan.creates.flatMap((made) => (made.name.endsWith('sda.qcow2') ? [made.name] : []));
  expect(await contentOf(lab, copies[0] ?? '')).toBe(await contentOf(lab, data[0]?.path ?? ''));
});

it('a running guest that writes: the clone’s filesystem is clean, and the result says why', async () => {
  const guest = await bootable('writer');
  await startGuest(guest.name);
  await inGuest(
    guest.name,
    '/bin/sh',
    '-c',
    'mount -o remount,rw /; (while :; do date >> /root/w; dd if=/dev/zero of=/root/f bs=64k count=8 2>/dev/null; sync; done) >/dev/null 2>&1 &',
  );
  const { result, plan } = await clone(guest, 'of-writer');
  expect(result).toMatchObject({
    consistency: 'filesystem',
    consistencyNote: expect.stringMatching(/froze \d+ filesystem.* for \d+ ms/),
  });
  // Nothing stays frozen: the writer goes on.
  const before = await inGuest(guest.name, '/bin/sh', '-c', 'wc -c < /root/w');
  await until(
    async () => (await inGuest(guest.name, '/bin/sh', '-c', 'wc -c < /root/w')) !== before,
    'the writer to go on',
  );
  const copy = plan.creates.find((made) => made.name.endsWith('vda.qcow2'))?.name ?? '';
  const raw = image('fsck.raw');
  await command('qemu-img', 'convert', '-O', 'raw', copy, raw);
  const partitions: {
    partitiontable: { sectorsize?: number; partitions: { start: number; size: number }[] };
  } = JSON.parse(await command('sfdisk', '--json', raw));
  const root = partitions.partitiontable.partitions.at(-1);
  expect(root).toBeDefined();
  await command(
    'dd',
    `if=${raw}`,
    `of=${raw}.root`,
    'bs=512',
    `skip=${root?.start ?? 0}`,
    `count=${root?.size ?? 0}`,
    'status=none',
  );
  await command('e2fsck', '-p', `${raw}.root`); // replays the journal, as a mount would
  await command('e2fsck', '-fn', `${raw}.root`); // throws when anything is wrong
});

describe('bad sources: refused in words, nothing made', () => {
  const bad = async (name: string, path: string, format = 'qcow2'): Promise<GuestRef> =>
    refOf(await defineGuest(lab, { name: named(name), disks: [{ target: 'vda', path, format }] }));
  const cases: [string, string, () => Promise<GuestRef>][] = [
    ['a disk file that is missing', 'source-unreadable', () => bad('missing', image('nowhere.qcow2'))],
    [
      'a disk file that is a directory',
      'source-unreadable',
      async () => {
        await mkdir(image('folder.qcow2'));
        return bad('folder', image('folder.qcow2'));
      },
    ],
    [
      'a disk that is encrypted',
      'source-encrypted',
      async () => {
        await command(
          'qemu-img',
          'create',
          '-q',
          '-f',
          'qcow2',
          '--object',
          'secret,id=s,data=geheim',
          '-o',
          // QEMU times the hash on this processor first; a fast one takes less than its clock shows, and that is an error there.
          'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,encrypt.hash-alg=sha512',
          image('luks.qcow2'),
          '4M',
        );
        return bad('luks', image('luks.qcow2'));
      },
    ],
    [
      'a disk whose backing file is gone',
      'broken-chain',
      async () => {
        await command('qemu-img', 'create', '-q', '-f', 'qcow2', image('below.qcow2'), '4M');
        await command(
          'qemu-img',
          'create',
          '-q',
          '-f',
          'qcow2',
          '-F',
          'qcow2',
          '-b',
          image('below.qcow2'),
          image('above.qcow2'),
        );
        const guest = await bad('chain', image('above.qcow2'));
        await rm(image('below.qcow2'));
        return guest;
      },
    ],
    [
      'a file that is no image',
      'source-unreadable',
      async () => {
        await command('cp', '/etc/hostname', image('text.qcow2'));
        return bad('text', image('text.qcow2'));
      },
    ],
    [
      'a raw block device',
      'unsupported-disk',
      async () =>
        bad('block', '/dev/null-block', 'raw').then(async (guest) => {
          const xml = (await virsh('dumpxml', '--inactive', guest.name))
            .replace("<disk type='file'", "<disk type='block'")
            .replace("file='/dev/null-block'", "dev='/dev/loop0'");
          await command('bash', '-c', 'printf %s "$1" > "$2"', 'write', xml, image('block.xml'));
          await virsh('define', image('block.xml'));
          return guest;
        }),
    ],
  ];
  it.each(cases)('%s: %s', async (_, code, make) => {
    const guest = await make();
    try {
      const error = await failure(planOf(lab.driver(), cloneOf(guest, named('never'))));
      expect(error.code).toBe(code);
      expect(error.remedy).toBeTruthy();
      if (code === 'broken-chain') expect(error.publicMessage).toContain('below.qcow2');
    } finally {
      await virsh('undefine', guest.uuid);
    }
  });
});

it('on a filesystem that shares blocks a full clone is a reflink', async ({ skip }) => {
  const xfs = await makeLab({ type: 'xfs', mebibytes: 600 });
  try {
    if (xfs.mounted === undefined) skip('this machine mounts no loop devices');
    const path = join(xfs.store, 'source.qcow2');
    await copyFile(sample, path);
    const guest = refOf(
      await defineGuest(xfs, { name: named('xfs'), disks: [{ target: 'vda', path, format: 'qcow2' }] }),
    );
    const { plan, result } = await clone(guest, 'xfs-clone', {}, xfs);
    expect(plan).toMatchObject({ strategy: 'reflink', estimates: { moveBytes: 0 } });
    expect(result).toMatchObject({ strategy: 'reflink', movedBytes: 0 });
    const copy = plan.creates.find((made) => made.name.endsWith('vda.qcow2'))?.name ?? '';
    expect(await contentOf(xfs, copy)).toBe(await contentOf(xfs, path));
    expect(await attempt('virsh', 'domuuid', named('xfs-clone'))).toBe(plan.guest?.uuid);
  } finally {
    await xfs.destroy();
  }
});

it('thirty linked clones of one base at once', async () => {
  const driver = lab.driver();
  const imported = await finish(
    driver,
    await planOf(driver, {
      kind: 'import',
      imagePath: sample,
      label: 'sample',
      osName: 'Linux',
      vcpus: 1,
      memoryMiB: 128,
      firmware: 'bios',
    }),
  );
  const { base } = imported.result;
  if (!base) throw new Error('no base was made');
  const names = Array.from({ length: 30 }, (_, index) => named(`l${index}`));
  await Promise.all(
    names.map(async (name) => {
      const plan = await planOf(
        driver,
        {
          kind: 'clone',
          source: { type: 'base', label: 'sample', base },
          mode: 'linked',
          name,
          options: options(),
          index: 0,
        },
        name,
      );
      await finish(driver, plan);
      expect(
        (await stat(plan.creates.find((made) => made.name.endsWith('vda.qcow2'))?.name ?? '')).blocks * 512,
      ).toBeLessThan(1024 ** 2);
    }),
  );
  const listed = await driver.list(new AbortController().signal);
  expect(names.filter((name) => !listed.some((guest) => guest.name === name))).toEqual([]);
});

it('a template made on another processor: said in the plan of a clone that would start, a warning for one that would not', async () => {
  const driver = lab.driver();
  const planned = async (feature: string, start: boolean) => {
    const cpu = `<cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model>${feature}</cpu>`;
    const base = {
      digest: 'c'.repeat(64),
      definition: `<domain type='qemu'><name>made-elsewhere</name><uuid>11111111-2222-4333-8444-555555555555</uuid><memory unit='MiB'>128</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>${cpu}<devices/></domain>`,
      disks: [],
    };
    const source = { type: 'base', label: 'made elsewhere', base, absent: true } as const;
    const { waitForAgent: _wait, ...rest } = options({});
    const request = {
      kind: 'clone',
      source,
      mode: 'linked',
      name: named('cpu'),
      options: { ...rest, start, waitForAgent: false },
      index: 0,
    } as const;
    return planOf(driver, request, 'cpu');
  };
  const tracing = "<feature policy='require' name='intel-pt'/>"; // TCG has none
  expect(await failure(planned(tracing, true))).toMatchObject({
    code: 'unavailable-mode',
    publicMessage:
      'The clone could not start here: it asks for the processor qemu64, which this host can’t offer.',
  });
  const texts = (plan: { notes: { text: string }[] }) => plan.notes.map(({ text }) => text).join(' ');
  expect(texts(await planned(tracing, false))).toContain('It can’t start here');
  expect(texts(await planned('', true))).not.toContain('can’t start');
});
