/** A running guest with a large second disk that can be written to from inside, as benches refresh from it. */
import { randomUUID } from 'node:crypto';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Portal } from './portal.ts';
import { foundGuest, virsh } from './source.ts';

/** The end of the disk, where the source goes on writing during a refresh. */
const BUSY_BYTES = 8 * 65_536;

/** Writes back what the guest holds, and makes QEMU write the image's tables, which others can then read. */
const FLUSH = 'dd if=/dev/null of=/dev/vdb conv=notrunc,fsync 2>/dev/null';

export interface RunningSource {
  name: string;
  /** Of its inventory row. */
  id: string;
  /** Overwrites that many blocks, scattered over the disk, with other content; resolves when they are on the disk. */
  changeBlocks(count: number, bytes: number, seed: number): Promise<void>;
  /** Begins or ends writing to a small part of the disk, over and over. */
  keepWriting(on: boolean): Promise<void>;
  /** Throws unless the image shows what the source's disk does, but for the part that is written over and over. */
  assertSame(image: string): Promise<void>;
  /** Destroys all change records. */
  dropRecords(): Promise<void>;
  remove(): Promise<void>;
}

/** Boots it from the sample image, with `data` as vdb, and waits for its agent and for the portal's inventory. */
export async function runningSource(portal: Portal, scratch: string, data: string): Promise<RunningSource> {
  const name = `bench-${randomUUID().slice(0, 8)}`;
  const system = join(scratch, `${name}-vda.qcow2`);
  await execa('cp', ['--', await sampleImage(scratch), system]);
  await chmod(data, 0o666);
  const file = join(scratch, `${name}.xml`);
  await writeFile(file, definition(name, system, data));
  await virsh('define', file);
  await rm(file);
  await virsh('start', name);
  while ((await virshQuietly('qemu-agent-command', name, '{"execute":"guest-ping"}')) === undefined)
    await new Promise((resolve) => setTimeout(resolve, 250));
  const inside = (script: string): Promise<string> => run(name, script);
  const size = Number(await inside('cat /sys/block/vdb/size')) * 512;
  const blocks = (bytes: number): number => Math.floor((size - BUSY_BYTES) / bytes);
  await inside('dd if=/dev/urandom of=/tmp/noise bs=65536 count=64 2>/dev/null');
  return {
    name,
    id: await foundGuest(portal, name),
    async changeBlocks(count, bytes, seed) {
      const stride = Math.floor(blocks(bytes) / count);
      await inside(`dd if=/dev/urandom of=/tmp/noise bs=65536 count=64 2>/dev/null; i=0
while [ $i -lt ${count} ]; do
  dd if=/tmp/noise of=/dev/vdb bs=${bytes} count=1 skip=$((i % 60)) seek=$((i * ${stride} + (i * 7 + ${seed}) % ${Math.max(1, stride)})) conv=notrunc 2>/dev/null
  i=$((i + 1))
done; ${FLUSH}`);
    },
    async keepWriting(on) {
      const at = (size - BUSY_BYTES) / 65_536;
      await (on
        ? inside(`touch /tmp/busy; (while [ -e /tmp/busy ]; do dd if=/dev/urandom of=/dev/vdb bs=65536 count=${BUSY_BYTES / 65_536} seek=${at} conv=notrunc,fsync; done) >/dev/null 2>&1 &
sleep 1`)
        : inside(`rm /tmp/busy; sleep 1; ${FLUSH}`));
    },
    async assertSame(image) {
      const [mine, theirs] = [join(scratch, `${name}-mine.raw`), join(scratch, `${name}-theirs.raw`)];
      await execa('qemu-img', ['convert', '-U', '-O', 'raw', data, mine]);
      await execa('qemu-img', ['convert', '-U', '-O', 'raw', image, theirs]);
      await execa('cmp', ['-n', String(size - BUSY_BYTES), '--', mine, theirs]);
      for (const path of [mine, theirs]) await rm(path);
    },
    async dropRecords() {
      const { stdout } = await virsh('checkpoint-list', '--name', name);
      for (const record of stdout.split('\n').filter((line) => line.trim() !== ''))
        await virsh('checkpoint-delete', name, record.trim());
    },
    async remove() {
      await virsh('destroy', name);
      await virsh('undefine', '--checkpoints-metadata', name);
      await rm(system, { force: true });
    },
  };
}

async function sampleImage(scratch: string): Promise<string> {
  const builder = fileURLToPath(new URL('../../tools/src/sample-guest/main.ts', import.meta.url));
  const { stdout } = await execa(process.execPath, ['--import', 'tsx', builder, join(scratch, 'cache')]);
  return stdout.trim();
}

async function virshQuietly(...args: string[]): Promise<string | undefined> {
  const done = await execa('virsh', ['-q', ...args], { reject: false });
  return done.exitCode === 0 ? done.stdout : undefined;
}

/** Runs a script in the guest through its agent; resolves to what it printed. */
async function run(name: string, script: string): Promise<string> {
  interface Reply {
    pid?: number;
    exited?: boolean;
    exitcode?: number;
    'out-data'?: string;
  }
  const call = async (execute: string, parameters: unknown): Promise<Reply> => {
    const command = JSON.stringify({ execute, arguments: parameters });
    const { stdout } = await virsh('qemu-agent-command', name, command);
    return (JSON.parse(stdout) as { return: Reply }).return;
  };
  const { pid } = await call('guest-exec', {
    path: '/bin/sh',
    arg: ['-c', script],
    'capture-output': true,
  });
  for (;;) {
    const status = await call('guest-exec-status', { pid });
    if (status.exited === true) {
      if (status.exitcode !== 0) throw new Error(`in ${name}: exit code ${status.exitcode ?? '?'}`);
      return Buffer.from(status['out-data'] ?? '', 'base64').toString();
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const definition = (name: string, system: string, data: string): string => `<domain type='qemu'>
  <name>${name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/><tcg><tb-cache unit='MiB'>64</tb-cache></tcg></features><cpu mode='maximum'/>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${system}'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${data}'/><target dev='vdb' bus='virtio'/></disk>
    <interface type='user'><model type='virtio'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>`;
