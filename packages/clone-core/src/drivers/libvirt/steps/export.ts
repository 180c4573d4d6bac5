/** Steps that write disks for other hypervisors, and take in what comes from them. */
import { lastPercent } from '../../../disks/convert.ts';
import { readImage } from '../../../disks/image.ts';
import { packOva, unpackDisk } from '../../../disks/ova/archive.ts';
import { writeOvf } from '../../../disks/ova/descriptor.ts';
import type { ExportedFile } from '../../../contract.ts';
import type { StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import { stderrOf } from '../../../disks/stderr.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { DropUnpackedStep, ExportDiskStep, FinishExportStep, UnpackOvaStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { needStopped, needUnchanged } from './copy.ts';
import { complete, deleted, folderOf, nameOf, partial, removeOwn } from './own-files.ts';
import { reporting } from './reporting.ts';
import { sha256 } from './sha256.ts';

/** Of `qemu-img convert`, for each format: what the other side opens without more ado. */
const OPTIONS: Readonly<Record<ExportDiskStep['format'], readonly string[]>> = {
  qcow2: [],
  raw: [],
  // What OVF packages hold, and what ESXi takes; written from front to back.
  vmdk: ['-o', 'subformat=streamOptimized'],
  vhdx: ['-o', 'subformat=dynamic'],
};

export function exportDiskStep(shell: Shell, virsh: Virsh): StepHandler<ExportDiskStep> {
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const { signal } = context;
        const total = step.bytes;
        if (!(await shell.stat(step.to))) {
          await needStopped(virsh, step.stopped, signal);
          await needUnchanged(shell, step.target, step.expects);
          await shell.mkdir(folderOf(step.to));
          await shell.remove(partial(step.to)); // of an earlier run that was cut
          await convertTo(shell, step, signal, (done) => report({ doneBytes: done, totalBytes: total }));
          await needStopped(virsh, step.stopped, signal);
          await needUnchanged(shell, step.target, step.expects);
          await complete(shell, step.to);
        }
        report({ doneBytes: total, totalBytes: total });
      }),
    undo: async (step, { signal }) => deleted(await removeOwn(shell, [step.to], folderOf(step.to), signal)),
  };
}

async function convertTo(
  shell: Shell,
  step: ExportDiskStep,
  signal: AbortSignal,
  onBytes: (done: number) => void,
): Promise<void> {
  const { from, fromFormat, to, format, bytes } = step;
  const ends = ['-f', fromFormat, '-O', format, ...OPTIONS[format], '--', from, partial(to)];
  try {
    await shell.run(['qemu-img', 'convert', '-p', '-t', 'unsafe', ...ends], {
      signal,
      timeoutMs: 0,
      dieWithParent: true,
      onStdout: (chunk) => {
        const percent = lastPercent(chunk);
        if (percent !== undefined) onBytes(Math.round((percent / 100) * bytes));
      },
    });
  } catch (thrown) {
    if (!/No space left on device|Disk quota exceeded/i.test(stderrOf(thrown))) throw thrown;
    throw new OffshootError('no-space', {
      publicMessage: 'The store filled up while the disk was written.',
      remedy: 'Free space on the store, then retry.',
      retryable: true,
      cause: thrown,
    });
  }
}

export function finishExportStep(shell: Shell): StepHandler<FinishExportStep> {
  const sums = (folder: string): string => `${folder}/SHA256SUMS`;
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const { folder } = step;
        report({ note: 'taking checksums' });
        const parts = await Promise.all(step.files.map(({ path }) => exported(shell, path, context.signal)));
        const files = step.ova ? [await pack(shell, step, parts, context, report)] : parts;
        const lines = files.map(({ path, sha256: digest }) => `${digest}  ${nameOf(path)}\n`);
        await shell.writeFile(sums(folder), lines.join(''), 0o644);
        context.result({
          exported: { folder, files },
          storedBytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
          movedBytes: step.bytes,
          strategy: 'convert',
        });
      }),
    async undo({ folder, ova }, { signal }) {
      const own = ova ? [ova.path, `${folder}/${ova.name}.ovf`, `${folder}/${ova.name}.mf`] : [];
      return deleted(await removeOwn(shell, [...own, sums(folder)], folder, signal));
    },
  };
}

async function exported(shell: Shell, path: string, signal: AbortSignal): Promise<ExportedFile> {
  const stat = await shell.stat(path);
  if (!stat)
    throw new OffshootError('source-missing', {
      publicMessage: `${path} is gone: someone removed it.`,
      remedy: 'Export it again.',
    });
  return { path, bytes: stat.size, sha256: await sha256(shell, path, signal) };
}

async function pack(
  shell: Shell,
  step: FinishExportStep,
  parts: readonly ExportedFile[],
  { signal }: StepContext,
  report: (progress: { note: string }) => void,
): Promise<ExportedFile> {
  const { folder, files } = step;
  const { path, name, ...machine } = step.ova ?? { path: '', name: '', vcpus: 1, memoryMiB: 1, networks: [] };
  if (await shell.stat(path)) return exported(shell, path, signal);
  report({ note: 'packing' });
  const descriptor = writeOvf({
    name,
    osName: 'Linux',
    ...machine,
    disks: parts.map((part, index) => ({
      file: nameOf(part.path),
      fileBytes: part.bytes,
      capacityBytes: files[index]?.virtualBytes ?? 0,
      populatedBytes: files[index]?.allocatedBytes ?? 0,
    })),
  });
  const ovf = `${folder}/${name}.ovf`;
  const manifest = `${folder}/${name}.mf`;
  await shell.writeFile(ovf, descriptor, 0o644);
  const described = await exported(shell, ovf, signal);
  const lines = [described, ...parts].map((each) => `SHA256(${nameOf(each.path)})= ${each.sha256}\n`);
  await shell.writeFile(manifest, lines.join(''), 0o644);
  const members = [
    { name: nameOf(ovf), bytes: described.bytes },
    { name: nameOf(manifest), bytes: 0 },
    ...parts.map((part) => ({ name: nameOf(part.path), bytes: part.bytes })),
  ];
  await shell.remove(partial(path));
  await packOva(shell, partial(path), folder, members, signal);
  await complete(shell, path);
  for (const each of [ovf, manifest, ...parts.map((part) => part.path)]) await shell.remove(each);
  return exported(shell, path, signal);
}

export function unpackOvaStep(shell: Shell): StepHandler<UnpackOvaStep> {
  return {
    async *run({ from, folder, disks }, { signal }) {
      await shell.mkdir(folder);
      for (const disk of disks) {
        yield { note: `unpacking ${disk.file}` };
        await unpackDisk(shell, from, disk, folder, signal);
        // What is in it is no more to be trusted than any other file.
        const { format } = await readImage(shell, `${folder}/${disk.file}`, signal);
        if (format === 'vmdk') continue;
        throw new OffshootError('unsupported-disk', {
          publicMessage: `${disk.file} in the OVA is no VMDK. Nothing of it was kept.`,
          remedy: 'Export it again where it comes from.',
          field: 'imagePath',
        });
      }
    },
    undo: async ({ folder, disks }, { signal }) =>
      deleted(
        await removeOwn(
          shell,
          disks.map(({ file }) => `${folder}/${file}`),
          folder,
          signal,
        ),
      ),
  };
}

export function dropUnpackedStep(shell: Shell): StepHandler<DropUnpackedStep> {
  return {
    async *run({ folder, files }, { signal }) {
      yield { note: 'removing what was unpacked' };
      await removeOwn(shell, files, folder, signal);
    },
    undo: () => Promise.resolve(undefined),
  };
}
