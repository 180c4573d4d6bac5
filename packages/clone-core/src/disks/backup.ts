/** Push-mode backup jobs of libvirt. Format: https://libvirt.org/formatbackup.html */

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&apos;',
  '"': '&quot;',
};
const text = (value: string): string => value.replace(/[&<>'"]/g, (found) => escapes[found] ?? found);

/** The job: these disks into new qcow2 files, all as of one point in time; the others not at all. */
export function backupXml(
  disks: readonly { target: string; to: string }[],
  excluded: readonly string[],
): string {
  const lines = [
    ...disks.map(
      (disk) =>
        `<disk name='${text(disk.target)}' backup='yes' type='file'><target file='${text(disk.to)}'/><driver type='qcow2'/></disk>`,
    ),
    ...excluded.map((target) => `<disk name='${text(target)}' backup='no'/>`),
  ];
  return `<domainbackup mode='push'><disks>${lines.join('')}</disks></domainbackup>`;
}

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** Done part (0–1) from `virsh domjobinfo`: "File processed: 12.3 MiB", "File total: 4.0 GiB". */
export function progressOf(jobInfo: string): number | undefined {
  const bytes = (label: string): number | undefined => {
    const found = new RegExp(`${label}:\\s+([\\d.]+)\\s+(\\w+)`).exec(jobInfo);
    return found ? Number(found[1]) * (UNITS[found[2] ?? ''] ?? 1) : undefined;
  };
  const [done, total] = [bytes('File processed'), bytes('File total')];
  return done !== undefined && total !== undefined && total > 0 ? Math.min(1, done / total) : undefined;
}
