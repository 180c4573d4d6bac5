/** What a machine keeps of having joined: one file for its owner's eyes only, and the authority that it trusts beside it. */
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { hostKeySchema, joinAnswerSchema, sshTargetSchema } from '@offshoot/clone-core/contract/joining';
import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';

/** Where it is when nothing else was said. */
export const JOINED_FOLDER = '/etc/offshoot';

const joinedSchema = joinAnswerSchema.extend({
  version: z.literal(1),
  /** The portal's address. */
  portal: z.string(),
  store: z.string().startsWith('/'),
  uri: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  /** The host is another machine, reached over SSH. */
  ssh: z
    .object({ target: sshTargetSchema, hostKey: hostKeySchema, keyFile: z.string().optional() })
    .optional(),
  /** At which other hosts reach this one. */
  address: z.string().optional(),
});
export type Joined = z.infer<typeof joinedSchema>;

const fileIn = (folder: string): string => join(folder, 'worker.json');
const authorityIn = (folder: string): string => join(folder, 'ca.pem');

/** Undefined: the machine has not joined. @throws OffshootError `invalid-input` when the file is damaged. */
export async function readJoined(folder: string): Promise<Joined | undefined> {
  let text: string;
  try {
    text = await readFile(fileIn(folder), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return joinedSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new OffshootError('invalid-input', {
      publicMessage: `${fileIn(folder)} is not what a worker that joined wrote.`,
      remedy: 'Remove it, and join again with a new token from the portal’s Hosts page.',
      cause,
    });
  }
}

/** Writes both, mode 600; the old ones stand until the new ones are on disk. */
export async function writeJoined(folder: string, joined: Joined): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (joined.ca !== undefined) await writePrivately(authorityIn(folder), joined.ca);
  await writePrivately(fileIn(folder), `${JSON.stringify(joined, null, 2)}\n`);
}

async function writePrivately(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await chmod(`${path}.new`, 0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

/** The worker's configuration as its environment would give it (config.ts). Only the portal's own services are talked to, over TLS. */
export function environmentOf(joined: Joined, folder: string): Record<string, string> {
  const { role, password, postgres, redis, ca } = joined;
  const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);
  const database = new URL(`postgresql://${bracketed(postgres.host)}:${postgres.port}`);
  database.username = role;
  database.password = password;
  database.pathname = `/${encodeURIComponent(postgres.database)}`;
  database.searchParams.set('sslmode', 'verify-full');
  if (ca !== undefined) database.searchParams.set('sslrootcert', authorityIn(folder));
  const queue = new URL(`rediss://${bracketed(redis.host)}:${redis.port}`);
  queue.username = role;
  queue.password = password;
  if (ca !== undefined) queue.searchParams.set('ca', authorityIn(folder));
  return {
    DATABASE_URL: database.toString(),
    REDIS_URL: queue.toString(),
    OFFSHOOT_HOST_ID: joined.hostId,
    OFFSHOOT_HOST_NAME: joined.hostName,
    OFFSHOOT_STORE: joined.store,
    OFFSHOOT_LIBVIRT_URI: joined.uri,
    OFFSHOOT_ACCELERATOR: joined.accelerator,
    ...(joined.address === undefined ? {} : { OFFSHOOT_PEER_ADDRESS: joined.address }),
    ...(joined.ssh === undefined
      ? {}
      : {
          OFFSHOOT_SSH: joined.ssh.target,
          OFFSHOOT_SSH_HOST_KEY: joined.ssh.hostKey,
          ...(joined.ssh.keyFile === undefined ? {} : { OFFSHOOT_SSH_KEY_FILE: joined.ssh.keyFile }),
        }),
    ...(joined.seal === undefined ? {} : { OFFSHOOT_SEAL_SECRET: joined.seal }),
  };
}
