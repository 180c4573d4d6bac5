/**
 * Gives a guest its own disks back after they stood still: what it wrote beside them goes into them. Safe to run at any
 * time and again: it looks where the guest is, running or not, and leaves nothing beside that holds content.
 */
import type { GuestRef, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Definitions } from '../definitions.ts';
import { readDomain } from '../domain-read.ts';
import { redirectDisks } from '../domain-xml.ts';
import type { ParkedDisk, RejoinStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';

/** A guest may be started or stopped by another hand while it is looked at. */
const LOOKS = 5;

export function rejoinStep(virsh: Virsh, definitions: Definitions): StepHandler<RejoinStep> {
  return {
    async *run(step) {
      yield { note: 'writing into its own disks what it wrote meanwhile' };
      await rejoin(virsh, definitions, step.guest, step.disks);
    },
    // The step before brings the disks back, should they still be apart.
    undo: () => Promise.resolve(undefined),
  };
}

/**
 * Resolves to the targets of disks that were apart. No signal ends it half-way and no deadline: until it is done, the
 * guest's definition names files that are not its own. Throws `in-use` when the guest keeps moving, else as libvirt does.
 */
export async function rejoin(
  virsh: Virsh,
  definitions: Definitions,
  guest: GuestRef,
  disks: readonly ParkedDisk[],
): Promise<string[]> {
  const brought = new Set<string>();
  for (let look = 0; look < LOOKS; look++) {
    const { live, config } = await whereabouts(virsh, guest);
    const isOn = (paths: ReadonlyMap<string, string> | undefined, disk: ParkedDisk): boolean =>
      paths?.get(disk.target) === disk.beside;
    const apart = disks.filter((disk) => isOn(live, disk));
    const defined = disks.filter((disk) => isOn(config, disk));
    if (apart.length === 0 && defined.length === 0) {
      // Without a definition (removed meanwhile) nobody else would ever put it together.
      for (const disk of disks) {
        if (config === undefined && (await virsh.shell.stat(disk.beside))) await commitStopped(virsh, disk);
        await virsh.shell.remove(disk.beside);
      }
      return [...brought];
    }
    for (const disk of apart) await commitRunning(virsh, guest, disk);
    if (live === undefined) {
      for (const disk of defined) await commitStopped(virsh, disk);
      await defineOwn(virsh, definitions, guest, defined);
    } else if (apart.length === 0) await defineOwn(virsh, definitions, guest, defined);
    for (const disk of [...apart, ...defined]) brought.add(disk.target);
  }
  throw new OffshootError('in-use', {
    publicMessage: `${guest.name} was started and stopped again and again while its disks were put together; what it wrote lately is still in ${disks.map((disk) => disk.beside).join(', ')}.`,
    remedy: 'Leave it running or stopped, then delete nothing and cancel this again.',
    retryable: true,
  });
}

/** Files by target: of the running guest (undefined: it does not run) and of its definition (undefined: it is gone). */
async function whereabouts(
  virsh: Virsh,
  { uuid }: GuestRef,
): Promise<{ live: Map<string, string> | undefined; config: Map<string, string> | undefined }> {
  const [state, inactive] = await Promise.all([
    virsh.state(uuid),
    virsh.maybe(['dumpxml', '--inactive', '--domain', uuid]),
  ]);
  const running =
    state === undefined || state === 'stopped' ? undefined : await virsh.maybe(['dumpxml', '--domain', uuid]);
  const paths = (xml: string | undefined): Map<string, string> | undefined =>
    xml === undefined
      ? undefined
      : new Map(
          readDomain(xml).disks.flatMap((disk) =>
            disk.path === undefined ? [] : [[disk.target, disk.path] as const],
          ),
        );
  return { live: paths(running), config: paths(inactive) };
}

/** `--base`: without it libvirt would write into the very bottom of the chain, which may be others' too. */
async function commitRunning(virsh: Virsh, { uuid }: GuestRef, disk: ParkedDisk): Promise<void> {
  const job = await virsh.run(['blockjob', '--domain', uuid, '--path', disk.target, '--info'], {
    okCodes: [0, 1],
  });
  // Of a worker that died: begun again, as nobody is left to finish it.
  if (/commit/i.test(job)) await virsh.run(['blockjob', '--domain', uuid, '--path', disk.target, '--abort']);
  try {
    await virsh.run(
      [
        'blockcommit',
        '--domain',
        uuid,
        '--path',
        disk.target,
        '--base',
        disk.path,
        '--active',
        '--pivot',
        '--wait',
      ],
      { timeoutMs: 0 },
    );
  } catch (thrown) {
    // Stopped in the middle: the next look finds it so, and its files as they were.
    if ((await virsh.state(uuid)) !== 'stopped') throw thrown;
  }
}

/** QEMU's own lock keeps a guest from being started on the files meanwhile. */
async function commitStopped(virsh: Virsh, disk: ParkedDisk): Promise<void> {
  if (!(await virsh.shell.stat(disk.beside)) || !(await virsh.shell.stat(disk.path))) return;
  await virsh.shell.run(['qemu-img', 'commit', '-q', '-f', 'qcow2', '--', disk.beside], {
    timeoutMs: 0,
    dieWithParent: true,
  });
  await virsh.shell.sync(disk.path);
}

async function defineOwn(
  virsh: Virsh,
  definitions: Definitions,
  guest: GuestRef,
  disks: readonly ParkedDisk[],
): Promise<void> {
  const xml = await virsh.maybe(['dumpxml', '--inactive', '--security-info', '--domain', guest.uuid]);
  if (xml === undefined || disks.length === 0) return;
  const own = Object.fromEntries(
    disks.map((disk) => [disk.target, { path: disk.path, format: disk.format }]),
  );
  const scratch = `${disks[0]?.beside ?? ''}.xml`;
  await virsh.define(redirectDisks(xml, own), scratch, new AbortController().signal);
  definitions.changed(guest.uuid);
}
