/** Processes of this machine, by what is in their command line. */
import { readdir, readFile } from 'node:fs/promises';

export interface Found {
  pid: number;
  argv: string[];
}

const goneMeanwhile = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH');

/** Live processes (no zombies: their command line is empty) that name the text. */
export async function processesWith(text: string): Promise<Found[]> {
  const found: Found[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    try {
      const line = await readFile(`/proc/${entry}/cmdline`, 'utf8');
      if (line.includes(text)) found.push({ pid: Number(entry), argv: line.split('\0').filter(Boolean) });
    } catch (error) {
      if (!goneMeanwhile(error)) throw error;
    }
  }
  return found;
}

/** The `qemu-img convert` that writes under this path; undefined when none does. */
export async function copierOf(path: string): Promise<Found | undefined> {
  return (await processesWith(path)).find(
    ({ argv }) => argv.includes('convert') && argv.some((word) => /(?:^|\/)qemu-img$/.test(word)),
  );
}
