/** Takes a lab away, also one that a crash left half made. */
import { readdir, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError } from '@offshoot/clone-core/errors';
import { signal } from '../chaos/processes.ts';
import { idOfFolder, labFolder, labParent, readRecord } from './layout.ts';
import { processesOf, startOf } from './namespaces.ts';
import { labsWithLinks, linksOf, removeLinks } from './network.ts';

const GONE_MS = 20_000;

export interface Removed {
  processes: number;
  links: number;
}

/** Processes, interfaces, files. Safe to repeat. @throws OffshootError `timeout` when a process does not end. */
export async function removeLab(id: string): Promise<Removed> {
  const record = await readRecord(id);
  const inits: number[] = [];
  for (const host of record?.hosts ?? [])
    if ((await startOf(host.init)) === host.started) inits.push(host.init);
  // A host's first process takes all others in its namespaces with it, whatever they did to their environment.
  const pids = [...new Set([...inits, ...(await processesOf(id))])].filter((pid) => pid !== process.pid);
  const starts = new Map(await Promise.all(pids.map(async (pid) => [pid, await startOf(pid)] as const)));
  for (const pid of pids) signal(pid, 'SIGKILL');
  const deadline = Date.now() + GONE_MS;
  for (const [pid, started] of starts) if (started !== undefined) await untilGone(pid, started, deadline);
  const links = (await linksOf(id)).length;
  await removeLinks(id);
  // Names vanish a moment after their namespace; libvirt's own last files come as late.
  await rm(labFolder(id), { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  return { processes: pids.length, links };
}

async function untilGone(pid: number, started: string, deadline: number): Promise<void> {
  while ((await startOf(pid)) === started) {
    if (Date.now() > deadline)
      throw new OffshootError('timeout', {
        publicMessage: `Process ${pid} of the lab does not end; the kernel holds it.`,
        remedy: 'Look at what it waits for (/proc/PID/stack), then run down again.',
      });
    await sleep(10);
  }
}

/** Takes away labs of processes that are gone: tests that were killed. Resolves with their ids. */
export async function removeOrphans(): Promise<string[]> {
  const folders = (await readdir(labParent)).flatMap((name) => idOfFolder(name) ?? []);
  const gone: string[] = [];
  for (const id of folders) {
    const record = await readRecord(id);
    if (!record?.owner || (await startOf(record.owner.pid)) === record.owner.started) continue;
    await removeLab(id);
    gone.push(id);
  }
  return gone;
}

/** Ids of the labs that there is anything of. */
export async function knownLabs(): Promise<string[]> {
  const folders = (await readdir(labParent)).flatMap((name) => idOfFolder(name) ?? []);
  return [...new Set([...folders, ...(await labsWithLinks())])].toSorted();
}
