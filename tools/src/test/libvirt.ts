/** The system's libvirt for tests: started when it does not run, and then stopped again. */
import { execa } from 'execa';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const URI = 'qemu:///system';

const answers = async (): Promise<boolean> =>
  (await execa('virsh', ['-c', URI, 'version'], { reject: false, stdin: 'ignore' })).exitCode === 0;

/** Resolves when libvirt answers. As an ordinary user without access to it this does nothing: tests say what they miss. */
export async function useLibvirt(): Promise<{ stop(): Promise<void> }> {
  if ((await answers()) || process.getuid?.() !== 0) return { stop: () => Promise.resolve() };
  // virtlogd refuses when one already runs: then it is not ours to stop.
  const log = await execa('virtlogd', ['-d'], { stdin: 'ignore', reject: false });
  await execa('libvirtd', ['-d'], { stdin: 'ignore' });
  const deadline = Date.now() + 20_000;
  while (!(await answers())) {
    if (Date.now() > deadline)
      throw new Error('libvirtd was started and does not answer on qemu:///system after 20 s.');
    await sleep(100);
  }
  return {
    stop: () => stopDaemons(['/run/libvirtd.pid', ...(log.exitCode === 0 ? ['/run/virtlogd.pid'] : [])]),
  };
}

async function stopDaemons(pidFiles: readonly string[]): Promise<void> {
  for (const file of pidFiles) {
    const pid = Number(await readFile(file, 'utf8').catch(() => ''));
    if (Number.isInteger(pid) && pid > 0) process.kill(pid, 'SIGTERM');
  }
}
