/** Backup jobs and checkpoints of libvirt. Format: https://libvirt.org/formatbackup.html */

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&apos;',
  '"': '&quot;',
};
const text = (value: string): string => value.replace(/[&<>'"]/g, (found) => escapes[found] ?? found);

export interface PushJob {
  disks: readonly { target: string; to: string }[];
  /** The guest's other disks: named, or libvirt would take them too. */
  excluded: readonly string[];
  /** Only what changed since this checkpoint; the files are there already and keep their backing file. */
  since?: string;
}

/** Into qcow2 files, all disks as of one point in time. */
export function pushXml({ disks, excluded, since }: PushJob): string {
  const lines = disks.map(
    (disk) =>
      `<disk name='${text(disk.target)}' backup='yes' type='file'><target file='${text(disk.to)}'/><driver type='qcow2'/></disk>`,
  );
  const incremental = since === undefined ? '' : `<incremental>${text(since)}</incremental>`;
  return `<domainbackup mode='push'>${incremental}<disks>${lines.join('')}${left(excluded)}</disks></domainbackup>`;
}

/** Readable over NBD at the socket (one export per disk, named by its target), all disks as of one point in time. */
export function pullXml(
  disks: readonly { target: string; scratch: string }[],
  excluded: readonly string[],
  socket: string,
): string {
  const lines = disks.map(
    (disk) =>
      `<disk name='${text(disk.target)}' backup='yes' type='file' exportname='${text(disk.target)}'><scratch file='${text(disk.scratch)}'/></disk>`,
  );
  return `<domainbackup mode='pull'><server transport='unix' socket='${text(socket)}'/><disks>${lines.join('')}${left(excluded)}</disks></domainbackup>`;
}

const left = (targets: readonly string[]): string =>
  targets.map((target) => `<disk name='${text(target)}' backup='no'/>`).join('');

/** A change record of these disks. Format: https://libvirt.org/formatcheckpoint.html */
export function checkpointXml(
  name: string,
  targets: readonly string[],
  others: readonly string[],
  createdSeconds?: number,
): string {
  const lines = [
    ...targets.map((target) => `<disk name='${text(target)}' checkpoint='bitmap' bitmap='${text(name)}'/>`),
    ...others.map((target) => `<disk name='${text(target)}' checkpoint='no'/>`),
  ];
  const created = createdSeconds === undefined ? '' : `<creationTime>${createdSeconds}</creationTime>`;
  return `<domaincheckpoint><name>${text(name)}</name>${created}<disks>${lines.join('')}</disks></domaincheckpoint>`;
}

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** "File processed: 12.3 MiB" and "File total: 4.0 GiB" of `virsh domjobinfo`, as bytes (rounded by virsh). */
export function jobBytes(jobInfo: string): { done: number; total: number } | undefined {
  const bytes = (label: string): number | undefined => {
    const found = new RegExp(`${label}:\\s+([\\d.]+)\\s+(\\w+)`).exec(jobInfo);
    return found ? Math.round(Number(found[1]) * (UNITS[found[2] ?? ''] ?? 1)) : undefined;
  };
  const [done, total] = [bytes('File processed'), bytes('File total')];
  return done === undefined || total === undefined ? undefined : { done, total };
}
