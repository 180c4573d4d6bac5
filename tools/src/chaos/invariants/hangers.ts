/** What hangs on a guest is what its row tells of; and what went on from another's memory is itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { GuestSnapshot } from '@offshoot/clone-core/contract';
import { hostNameOf, isFrozen, type Domain } from '../host.ts';
import type { World } from '../world.ts';
import type { GuestRow, Snapshot } from './snapshot.ts';

/** Change records of a clone at its source begin with this. */
const recordsOf = ({ uuid }: GuestRow): string => `offshoot-${(uuid ?? '').slice(0, 13)}-`;

/**
 * No snapshot that its row does not know, no checkpoint and no bitmap but those of clones that are there, no job, and no
 * frozen filesystem, on any guest of this run.
 */
export async function checkHangers(world: World, { domains, guests }: Snapshot): Promise<string[]> {
  const found: string[] = [];
  const records = guests.filter(({ generations }) => generations !== null).map(recordsOf);
  const isKnown = (name: string): boolean => records.some((prefix) => name.startsWith(prefix));
  for (const domain of domains) {
    if (!domain.name.startsWith(world.prefix)) continue;
    const row = guests.find(({ uuid }) => uuid === domain.uuid);
    const taken = ((row?.snapshots as unknown as GuestSnapshot[] | null | undefined) ?? []).map(
      ({ name }) => name,
    );
    if (domain.snapshots.toSorted().join() !== taken.toSorted().join())
      found.push(
        `${domain.name} has the snapshots ${domain.snapshots.join(', ') || 'none'}, its row says ${taken.join(', ') || 'none'}`,
      );
    for (const name of domain.checkpoints)
      if (!isKnown(name)) found.push(`${domain.name} has the checkpoint ${name} of no clone that is there`);
    if (domain.job !== 'None') found.push(`${domain.name} has a job: ${domain.job}`);
    if (domain.state === 'shut off')
      for (const name of await bitmapsOf(domain))
        if (!isKnown(name))
          found.push(`a disk of ${domain.name} has the bitmap ${name} of no clone that is there`);
  }
  for (const source of world.sources.standing) {
    if (!source.agent) continue;
    const frozen = await patientAgent(() => isFrozen(world.services.libvirtUri, source.uuid));
    if (frozen !== false)
      found.push(
        frozen === undefined
          ? `the agent of ${source.name} does not answer`
          : `the filesystems of ${source.name} are frozen`,
      );
  }
  return found;
}

async function bitmapsOf({ disks }: Domain): Promise<string[]> {
  const names = await Promise.all(
    disks
      .filter(({ format }) => format === 'qcow2')
      .map(async ({ path }) => {
        const { stdout } = await execa('qemu-img', ['info', '-U', '--output=json', path]);
        const info = JSON.parse(stdout) as {
          'format-specific'?: { data?: { bitmaps?: { name: string }[] } };
        };
        return info['format-specific']?.data?.bitmaps?.map(({ name }) => name) ?? [];
      }),
  );
  return names.flat();
}

/** Each clone that went on from a memory calls itself by its own name, and so does its source. */
export async function checkNames(world: World, { guests, domains }: Snapshot): Promise<string[]> {
  const found: string[] = [];
  for (const row of guests) {
    if (row.mode !== 'memory' || domains.find(({ uuid }) => uuid === row.uuid)?.state !== 'running') continue;
    const name = await patientAgent(() => hostNameOf(world.services.libvirtUri, row.uuid ?? ''));
    if (name !== row.name)
      found.push(`${row.name} calls itself ${name ?? 'nothing: its agent does not answer'}`);
  }
  const names = world.ledger.sourceNames;
  for (const source of world.sources.standing) {
    if (!source.agent) continue;
    const name = (await patientAgent(() => hostNameOf(world.services.libvirtUri, source.uuid))) ?? '';
    const was = names.get(source.uuid) ?? name;
    names.set(source.uuid, was);
    if (name !== was) found.push(`${source.name} calls itself ${name}, and was ${was}`);
  }
  return found;
}

/** libvirt that was restarted finds an agent again within this, milliseconds. */
const AGENT_MS = 15_000;

async function patientAgent<T>(ask: () => Promise<T | undefined>): Promise<T | undefined> {
  const deadline = Date.now() + AGENT_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined || Date.now() > deadline) return answer;
    await sleep(200);
  }
}
