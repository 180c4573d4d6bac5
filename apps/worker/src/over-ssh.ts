/** A host that this worker serves from elsewhere: over SSH, with a key or an agent, its host key pinned. */
import { readFile } from 'node:fs/promises';
import type { Shell } from '@offshoot/clone-core/shell';

export interface OverSsh {
  /** [user@]host[:port] */
  target: string;
  /** SHA256:…, as `ssh-keygen -l` prints it. */
  hostKey: string;
  /** Undefined: the agent of SSH_AUTH_SOCK. */
  keyFile?: string | undefined;
}

/** Nothing is dialled before the first command. */
export async function overSsh({ target, hostKey, keyFile }: OverSsh): Promise<Shell> {
  const match = /^(?:([^@]+)@)?([^:]+)(?::(\d+))?$/.exec(target);
  const [, user = 'root', host = '', port = '22'] = match ?? [];
  // Loaded only where it is used: ssh2 costs start-up time.
  const { sshShell } = await import('@offshoot/clone-core/shell/ssh');
  return sshShell({
    host,
    port: Number(port),
    user,
    hostKeySha256: hostKey,
    ...(keyFile === undefined
      ? { agent: process.env['SSH_AUTH_SOCK'] ?? '' }
      : { privateKey: await readFile(keyFile, 'utf8') }),
  });
}
