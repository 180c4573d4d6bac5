/** What the host holds, looked at past the portal. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { domains } from '@offshoot/tools/lab/host';

/** What there is of a guest: its domain and its files in the store. */
export async function remains(store: string, name: string): Promise<string[]> {
  const entries = await readdir(store, { recursive: true });
  return [
    ...entries.map((entry) => join(store, entry)).filter((path) => path.includes(`/${name}-`)),
    ...(await domains()).filter((domain) => domain === name),
  ];
}
