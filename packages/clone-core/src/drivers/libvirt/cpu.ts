/** Whether a host has the processor that a definition asks for. */
import { createHash } from 'node:crypto';
import type { Shell } from '../../shell/shell.ts';
import { memoByKey } from './memo.ts';
import type { Virsh } from './virsh.ts';
import { attribute, child, parseXml, textOf, serializeElement } from './xml.ts';

const HOUR = 3_600_000;

/** Says what of it the host lacks, as a sentence's end; undefined: nothing, or it can't be told. */
export type CpuCheck = (definition: string) => Promise<string | undefined>;

/**
 * Definitions that name a processor model are held against what the hypervisor offers here (`virsh hypervisor-cpu-compare`, libvirt 4.4
 * and later); all others take the host's own. A host's processor does not change: each answer is kept for an hour.
 */
export function cpuCheck({ shell, uri }: Pick<Virsh, 'shell' | 'uri'>, store: string): CpuCheck {
  const answers = memoByKey<boolean>(HOUR);
  return async (definition) => {
    const { root } = parseXml(definition, 'domain');
    const cpu = child(root, 'cpu');
    if (!cpu || (attribute(cpu, 'mode') ?? 'custom') !== 'custom') return undefined;
    const model = textOf(child(cpu, 'model'));
    if (model === '') return undefined;
    const xml = serializeElement(cpu);
    const type = attribute(root, 'type') ?? 'qemu';
    const key = createHash('sha256').update(`${type} ${xml}`).digest('hex');
    // virsh reads a file only; what it reads is gone again at once.
    const scratch = `${store}/.cpu-${key.slice(0, 12)}.xml`;
    const lacking = await answers(key, async () => {
      await shell.writeFile(scratch, xml);
      try {
        return await isIncompatible(shell, uri, type, scratch);
      } finally {
        await shell.remove(scratch);
      }
    });
    return lacking ? `it asks for the processor ${model}, which this host can’t offer` : undefined;
  };
}

async function isIncompatible(shell: Shell, uri: string, type: string, file: string): Promise<boolean> {
  const { stdout } = await shell.run(
    ['virsh', '-c', uri, 'hypervisor-cpu-compare', '--virttype', type, file],
    { okCodes: [0, 1] },
  );
  // Anything else (an older libvirt, no such type) is told when the clone starts.
  return stdout.includes('is incompatible with');
}
