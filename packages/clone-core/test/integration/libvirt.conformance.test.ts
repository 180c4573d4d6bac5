/** The libvirt driver on this machine's libvirt, under software emulation. */
import { copyFile, mkdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { ConformanceRig, Definition } from '../conformance/rig.ts';
import { conformance } from '../conformance/suite.ts';
import {
  attempt,
  command,
  contentOf,
  defineGuest,
  filesBelow,
  makeLab,
  processesOf,
  sampleImage,
  startGuest,
  virsh,
  type Lab,
} from './libvirt.lab.ts';

const labs: Lab[] = [];
afterAll(async () => {
  for (const lab of labs) if ((await attempt('test', '-d', lab.root)) !== undefined) await lab.destroy();
});

async function definition(name: string): Promise<Definition | undefined> {
  const xml = await attempt('virsh', '-q', 'dumpxml', '--inactive', name);
  if (xml === undefined) return undefined;
  // A clone is held back until it is itself: what that puts in is taken out again, and is no part of what was cloned.
  const held = /<disk (?:(?!<\/disk>)[\s\S])*first-settings[\s\S]*?<\/disk>/g;
  const blocks = xml.replace(held, '').match(/<disk [\s\S]*?<\/disk>/g) ?? [];
  const rest = [
    held,
    /<controller (?:(?!<\/controller>)[\s\S])*ua-offshoot-seed-bus[\s\S]*?<\/controller>/g,
    /<metadata>[\s\S]*?<\/metadata>/g,
    /<link state='down'\/>/g,
    /<name>.*<\/name>/g,
    /<uuid>.*<\/uuid>/g,
    /<genid>.*<\/genid>/g,
    /mac address='.*'/g,
    /source file='.*'/g,
    /<nvram.*<\/nvram>/g,
  ]
    .reduce((text, pattern) => text.replace(pattern, ''), xml)
    .replaceAll(/\n\s*(?=\n)/g, '');
  return {
    uuid: /<uuid>(.*)<\/uuid>/.exec(xml)?.[1] ?? '',
    macs: [...xml.matchAll(/mac address='(.*)'/g)].map((found) => found[1] ?? ''),
    disks: blocks.map((block) => ({
      target: /target dev='(\w+)'/.exec(block)?.[1] ?? '',
      path: /source file='([^']*)'/.exec(block)?.[1] ?? '',
    })),
    rest,
  };
}

conformance('libvirt', async () => {
  const lab = await makeLab({ type: 'ext4', mebibytes: 700 });
  labs.push(lab);
  const sample = await sampleImage();
  const sources = join(lab.root, 'sources');
  await mkdir(sources);
  const wiggle = join(lab.store, 'wiggle');
  let wiggled = false;
  const rig: ConformanceRig = {
    hasAgent: true,
    slow: true,
    driver() {
      const driver = lab.driver();
      // Other guests of this machine are not ours to compare.
      return {
        ...driver,
        list: async (signal) => {
          const ours = await lab.guests();
          return (await driver.list(signal)).filter((guest) => ours.includes(guest.name));
        },
      };
    },
    async makeSource({ name, running }) {
      const [system, data] = [join(sources, `${name}-vda.qcow2`), join(sources, `${name}-vdb.qcow2`)];
      await copyFile(sample, system);
      await command('qemu-img', 'create', '-q', '-f', 'qcow2', data, '16M');
      await command('qemu-io', '-c', 'write -q -P 0x5a 1M 3M', data);
      const guest = await defineGuest(lab, {
        name,
        nics: 2,
        disks: [
          { target: 'vda', path: system, format: 'qcow2' },
          { target: 'vdb', path: data, format: 'qcow2' },
        ],
      });
      if (running) await startGuest(name);
      return { uuid: guest.uuid, name };
    },
    async changeSource(source, what) {
      if (what === 'definition') await virsh('desc', source.uuid, '--config', 'changed');
      else
        await command('qemu-io', '-c', 'write -q -P 0x21 0 64k', join(sources, `${source.name}-vdb.qcow2`));
    },
    async writeTo(name) {
      const path = (await definition(name))?.disks.at(-1)?.path ?? '';
      await command('qemu-io', '-c', 'write -q -P 0x33 2M 1M', path);
    },
    async wiggleFreeSpace() {
      if (wiggled) await rm(wiggle);
      else await command('dd', 'if=/dev/urandom', `of=${wiggle}`, 'bs=1M', 'count=5', 'status=none');
      wiggled = !wiggled;
    },
    async makeImage() {
      const path = join(lab.root, 'image.qcow2');
      await copyFile(sample, path);
      return path;
    },
    async look() {
      const guests = await lab.guests();
      const asked = await Promise.all(
        guests.flatMap((name) => [
          virsh('snapshot-list', name, '--name').then((text) => text && `snapshots of ${name}: ${text}`),
          virsh('checkpoint-list', name, '--name').then((text) => text && `checkpoints of ${name}: ${text}`),
          attempt('virsh', '-q', 'backup-dumpxml', name).then((job) => job && `job of ${name}: ${job}`),
        ]),
      );
      const other = asked.flatMap((text) => (text ? [text] : []));
      const files = [...(await filesBelow(lab.store)), ...(await filesBelow(sources))].filter(
        (path) => path !== wiggle,
      );
      return { guests, files, other };
    },
    definition,
    isRunning: async (name) => (await virsh('domstate', name)) === 'running',
    async content(name) {
      const disks = (await definition(name))?.disks ?? [];
      const pairs = disks.map(async ({ target, path }) => [target, await contentOf(lab, path)] as const);
      return Object.fromEntries(await Promise.all(pairs));
    },
    fileContent: (path) => contentOf(lab, path),
    processes: () => processesOf(lab),
    destroy: () => lab.destroy(),
  };
  if (lab.mounted === undefined) return rig;
  return {
    ...rig,
    async fillStore() {
      const file = join(lab.store, 'filler');
      const { bavail, bsize } = await statfs(lab.store);
      await command('fallocate', '-l', String(bavail * bsize - 1024 ** 2), file);
      return () => rm(file);
    },
  };
});
