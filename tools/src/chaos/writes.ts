/** What guests write themselves: to a disk that nothing else is done with, by QEMU's own means. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { domains, type Domain } from './host.ts';
import type { Random } from './random.ts';
import type { Content } from './sources.ts';
import type { World } from './world.ts';

const KIB = 1024;
const folderOf = (world: World): string => join(world.folder, 'images', 'written');

/**
 * Writes a few times to one disk of the guest, running or stopped. Resolves with what is on its disks now: undefined
 * when that is not known any more (the store filled up half-way), and the content as it was when the disk was in use.
 */
export async function writeSome(
  world: World,
  uuid: string,
  content: NonNullable<Content>,
  random: Random,
): Promise<Content> {
  const domain = (await domains(world.services.libvirtUri)).find((each) => each.uuid === uuid);
  const disk = domain && random.pick(domain.disks);
  const [before, ...others] = content[disk?.target ?? ''] ?? [];
  if (!domain || !disk || before === undefined || others.length > 0) return content;
  const after = join(folderOf(world), `${++world.count}.raw`);
  await execa('mkdir', ['-p', folderOf(world)]);
  await execa('cp', ['--', before, after]);
  const megabytes = Number((await execa('stat', ['-c', '%s', after])).stdout) / KIB / KIB;
  const commands = Array.from({ length: random.between(1, 4) }, () => {
    const kib = random.pick([4, 64, 64, 192]);
    const at = random.between(0, megabytes * KIB - kib);
    const aligned = random.chance(0.5) ? Math.floor(at / 64) * 64 : Math.floor(at / 4) * 4;
    return `write -P ${random.between(1, 255)} ${aligned}k ${kib}k`;
  });
  const done = await performOn(world, domain, disk, commands);
  if (done === 'in use') {
    await rm(after);
    return content;
  }
  if (done === 'failed') return undefined;
  const words = commands.flatMap((command) => ['-c', command]);
  await execa('qemu-io', ['-f', 'raw', ...words, after]);
  return { ...content, [disk.target]: [after] };
}

async function performOn(
  world: World,
  domain: Domain,
  disk: Domain['disks'][number],
  commands: readonly string[],
): Promise<'done' | 'in use' | 'failed'> {
  if (domain.state === 'shut off') {
    const words = commands.flatMap((command) => ['-c', command]);
    const done = await execa('qemu-io', ['-f', disk.format, ...words, disk.path], {
      reject: false,
      all: true,
    });
    if (/lock/i.test(done.all)) return 'in use';
    return wrote(done.all) === commands.length ? 'done' : 'failed';
  }
  if (domain.state !== 'running') return 'in use';
  const index = domain.disks.findIndex(({ target }) => target === disk.target);
  let count = 0;
  for (const command of [...commands, 'flush']) {
    const monitor = `qemu-io -d /machine/peripheral/virtio-disk${index} "${command}"`;
    const argv = [
      '-q',
      '-c',
      world.services.libvirtUri,
      'qemu-monitor-command',
      domain.uuid,
      '--hmp',
      monitor,
    ];
    const done = await execa('virsh', argv, { reject: false, all: true });
    if (done.exitCode !== 0 && command !== 'flush') return count === 0 ? 'in use' : 'failed';
    count += wrote(done.all);
  }
  return count === commands.length ? 'done' : 'failed';
}

const wrote = (said: string): number => said.match(/^wrote (\d+)\/\1 bytes/gm)?.length ?? 0;

/** Deletes images of contents that no guest can have any more. */
export async function dropOldImages(world: World): Promise<void> {
  const wanted = world.ledger.images;
  await execa('mkdir', ['-p', folderOf(world)]);
  for (const name of await readdir(folderOf(world))) {
    const path = join(folderOf(world), name);
    if (!wanted.has(path)) await rm(path);
  }
}
