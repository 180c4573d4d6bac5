/** `join`: a token from the portal's Hosts page becomes this machine's own credential. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as pathOf, resolve } from 'node:path';
import {
  hostKeySchema,
  joinAnswerSchema,
  joinTokenSchema,
  sshTargetSchema,
  WORKER_PROTOCOL,
  type JoinAnswer,
  type JoinRequest,
} from '@offshoot/clone-core/contract/joining';
import { proveAccelerator } from '@offshoot/clone-core/drivers/accelerator';
import { OffshootError, toOffshootError } from '@offshoot/clone-core/errors';
import { authorityFingerprint, makeJoinKey, openAnswer } from '@offshoot/clone-core/joining/sealed';
import type { Shell } from '@offshoot/clone-core/shell';
import { localShell } from '@offshoot/clone-core/shell/local';
import { openDatabase } from '@offshoot/db/client';
import { openQueues } from '@offshoot/queue/jobs';
import { z } from 'zod';
import { overSsh } from '../over-ssh.ts';
import { environmentOf, readJoined, writeJoined, type Joined } from './joined.ts';
import { machineDigest, needLibvirt, needStore } from './machine.ts';
import { askPortal, jsonOf } from './portal.ts';

export interface JoinOptions {
  portal: string;
  token: string;
  /** Where the credential is kept. */
  folder: string;
  store: string;
  uri: string;
  /** Insist on a name. */
  name?: string | undefined;
  /** At which other hosts reach this one; undefined: the one that it reached the portal from. */
  address?: string | undefined;
  /** Undefined: found out by booting a guest. */
  accelerator?: 'kvm' | 'tcg' | undefined;
  /** The host is another machine, [user@]host[:port]. */
  ssh?: string | undefined;
  /** Private key for it; undefined: the agent's. */
  sshKey?: string | undefined;
  /** Its host key, as checked on its console; undefined: it is shown, and nothing more is done. */
  hostKey?: string | undefined;
  /** Joined before: forget that. */
  again: boolean;
  version: string;
}

const sealedSchema = z.object({ publicKey: z.string(), sealed: z.string() });

/**
 * Joins; `say` gets one line for each thing that was done. Nothing is stored, and the token is not spent, when the machine
 * can't be a host. @throws OffshootError in words for whoever pasted the line.
 */
export async function joinPortal(options: JoinOptions, say: (line: string) => void): Promise<Joined> {
  const portal = portalUrl(options.portal);
  const token = tokenOf(options.token);
  await refuseTwice(options);
  const ssh = options.ssh === undefined ? undefined : await pinned(options.ssh, options);
  const shell = ssh === undefined ? localShell() : await overSsh(ssh);
  let accelerator: 'kvm' | 'tcg';
  let machine: string | undefined;
  try {
    await needLibvirt(shell, options.uri);
    await needStore(shell, options.store);
    accelerator = options.accelerator ?? (await acceleratorOf(shell, portal, options, say));
    machine = await machineDigest(shell);
  } finally {
    await shell.close();
  }
  const { answer, localAddress } = await exchange(portal, token, options, machine, ssh);
  const joined: Joined = {
    ...answer,
    version: 1,
    portal: portal.origin,
    store: options.store,
    uri: options.uri,
    accelerator,
    // A worker elsewhere gives and takes no bases.
    ...(ssh === undefined ? { address: options.address ?? localAddress } : { ssh }),
  };
  await writeJoined(options.folder, joined);
  say(
    `${options.ssh ?? 'This machine'} is the host “${joined.hostName}” of ${joined.portal} now. Its credential is in ${options.folder}.`,
  );
  await needServices(joined, options.folder);
  say('PostgreSQL and Redis of the portal answer, over TLS.');
  return joined;
}

/** @throws OffshootError `host-key-mismatch` with the key that the host shows, when none or another was given. */
async function pinned(
  target: string,
  { sshKey: keyFile, hostKey }: JoinOptions,
): Promise<NonNullable<Joined['ssh']>> {
  const parsed = sshTargetSchema.safeParse(target);
  if (!parsed.success)
    throw new OffshootError('invalid-input', {
      publicMessage: 'A host over SSH is [user@]host[:port].',
      field: 'ssh',
    });
  if (hostKey !== undefined && hostKeySchema.safeParse(hostKey).success)
    return { target, hostKey, ...(keyFile === undefined ? {} : { keyFile: resolve(keyFile) }) };
  const shell = await overSsh({ target, hostKey: hostKey ?? 'SHA256:', keyFile });
  try {
    await shell.run(['true']);
  } catch (thrown) {
    const error = toOffshootError(thrown);
    if (error.code !== 'host-key-mismatch') throw error;
    throw new OffshootError('host-key-mismatch', {
      publicMessage: `${target} shows the host key ${String(error.context['seen'])}. Nothing was sent to it.`,
      remedy: `Compare it with what “ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub” (or the key of another type) says on its console. If it is the same, join again with --host-key ${String(error.context['seen'])}.`,
      cause: error,
    });
  } finally {
    await shell.close();
  }
  throw new OffshootError('internal', {
    publicMessage: `${target} was let in without its host key being checked.`,
  });
}

async function acceleratorOf(
  shell: Shell,
  portal: URL,
  { ssh, store }: JoinOptions,
  say: (line: string) => void,
): Promise<'kvm' | 'tcg'> {
  if (ssh === undefined) return provenAccelerator(shell, portal, store, say);
  say('KVM is not tried over SSH: guests are emulated. If KVM works there, join with --accelerator kvm.');
  return 'tcg';
}

function portalUrl(text: string): URL {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return new URL(text);
  throw new OffshootError('invalid-input', {
    publicMessage: `“${text}” is not the address of a portal.`,
    remedy: 'Copy the line from the portal’s Hosts page again: it begins with http:// or https://.',
    field: 'portal',
  });
}

function tokenOf(text: string): string {
  const parsed = joinTokenSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new OffshootError('invalid-input', {
    publicMessage: parsed.error.issues[0]?.message ?? 'That is no token.',
    remedy: 'Copy the line from the portal’s Hosts page again.',
    field: 'token',
  });
}

async function refuseTwice({ folder, again }: JoinOptions): Promise<void> {
  const before = again ? undefined : await readJoined(folder);
  if (!before) return;
  throw new OffshootError('in-use', {
    publicMessage: `This machine joined ${before.portal} already, as the host “${before.hostName}”.`,
    remedy: `Start its worker with “run”. To join anew, add --again: its credential in ${folder} is then replaced.`,
  });
}

async function exchange(
  portal: URL,
  token: string,
  options: JoinOptions,
  machine: string | undefined,
  ssh: Joined['ssh'],
): Promise<{ answer: JoinAnswer; localAddress: string }> {
  const key = makeJoinKey();
  const url = new URL('/api/join', portal);
  const request: JoinRequest = {
    token,
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(machine === undefined ? {} : { machine }),
    ...(ssh === undefined ? {} : { ssh: { target: ssh.target, hostKey: ssh.hostKey } }),
    now: new Date().toISOString(),
    version: options.version,
    protocol: WORKER_PROTOCOL,
    publicKey: key.publicKey,
  };
  const answered = await askPortal(url, request);
  const sealed = sealedSchema.safeParse(jsonOf(url, answered));
  if (!sealed.success)
    throw new OffshootError('host-unreachable', {
      publicMessage: `What answers at ${url.origin} is no Offshoot portal of this version.`,
      remedy: 'Download the worker from this portal: the line on its Hosts page does.',
    });
  const answer = joinAnswerSchema.parse(JSON.parse(openAnswer(sealed.data, key, token)));
  // The token was copied from the portal's page; what came over this machine's network must agree with it.
  if (authorityFingerprint(answer.ca) !== token.split('.')[1])
    throw new OffshootError('not-allowed', {
      publicMessage:
        'The authority that vouches for the portal’s services is not the one that the token names, so nothing was stored.',
      remedy: 'See who is between this machine and the portal, then join with a new token.',
    });
  return { answer, localAddress: answered.localAddress };
}

/** Joined, but can it work? @throws OffshootError `host-unreachable` naming the service and its port. */
async function needServices(joined: Joined, folder: string): Promise<void> {
  const { DATABASE_URL = '', REDIS_URL = '' } = environmentOf(joined, folder);
  const db = openDatabase(DATABASE_URL, { poolSize: 1 });
  const queues = openQueues(REDIS_URL);
  const closed = (
    what: string,
    { host, port }: { host: string; port: number },
    cause: unknown,
  ): OffshootError =>
    new OffshootError('host-unreachable', {
      publicMessage: `This machine has joined, but can’t reach the portal’s ${what} at ${host}:${port}: ${cause instanceof Error ? cause.message : String(cause)}.`,
      remedy: `Open that port between the two, then start the worker with “run”. There is no need to join again.`,
      retryable: true,
      cause,
    });
  try {
    await db.pool.query('SELECT offshoot_protocol()').catch((cause: unknown) => {
      throw closed('PostgreSQL', joined.postgres, cause);
    });
    await queues.ping().catch((thrown: unknown) => {
      const { cause } = toOffshootError(thrown);
      throw closed('Redis', joined.redis, cause ?? thrown);
    });
  } finally {
    await queues.close();
    await db.close();
  }
}

/** Boots the portal's sample guest under KVM, once. Without one: emulation, which runs everywhere, slowly. */
async function provenAccelerator(
  shell: Shell,
  portal: URL,
  store: string,
  say: (line: string) => void,
): Promise<'kvm' | 'tcg'> {
  const sample = await askPortal(new URL('/api/join/sample', portal));
  if (sample.status !== 200) {
    say(
      'The portal has no sample guest to try KVM with: guests are emulated. If KVM works here, join with --accelerator kvm.',
    );
    return 'tcg';
  }
  const folder = await mkdtemp(pathOf(tmpdir(), 'offshoot-join-'));
  try {
    const image = pathOf(folder, 'sample.qcow2');
    await writeFile(image, sample.body);
    const { name, detail } = await proveAccelerator(shell, { image, store });
    say(`Accelerator: ${name} (${detail}).`);
    return name;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
