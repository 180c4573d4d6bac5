/** A libvirt for the whole run: the machine's own, started only where none answers. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startLibvirt } from '@offshoot/tools/libvirt';

export default async function setup(): Promise<() => Promise<void>> {
  const logs = await mkdtemp(join(tmpdir(), 'offshoot-libvirt-logs-'));
  const libvirt = await startLibvirt({
    isRoot: process.getuid?.() === 0,
    logs,
    say: (line) => process.stderr.write(`${line}\n`),
  });
  return async () => {
    await libvirt.restore();
    for (const service of libvirt.services) await service.stop();
    await rm(logs, { recursive: true, force: true });
  };
}
