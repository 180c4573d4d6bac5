/** What a real server can't be made to do on demand: a stand-in (ssh2's own Server) drops and misbehaves. */
import { generateKeyPairSync } from 'node:crypto';
import ssh2, { type Connection, type Server } from 'ssh2';
import { afterEach, describe, expect, it } from 'vitest';
import { OffshootError } from '../../src/errors.ts';
import { fingerprintOf, sshShell } from '../../src/shell/ssh.ts';
import { failure } from '../conformance/until.ts';

const pem = (): string =>
  generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs1', format: 'pem' })
    .toString();

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

type Exec = (connection: Connection, channel: ssh2.ServerChannel, command: string) => void;

/** A server that lets everyone in and answers commands as told; counts connections and commands. */
async function serve(exec: Exec) {
  const hostKey = pem();
  const seen = { connections: 0, commands: [] as string[] };
  const open = new Set<Connection>();
  const server: Server = new ssh2.Server({ hostKeys: [hostKey] }, (connection) => {
    seen.connections++;
    open.add(connection);
    connection.on('error', () => undefined); // a client that hangs up is no failure of the stand-in
    connection.on('close', () => open.delete(connection));
    connection.on('authentication', (context) => context.accept());
    connection.on('session', (accept) =>
      accept().on('exec', (acceptExec, _, { command }) => {
        seen.commands.push(command);
        exec(connection, acceptExec(), command);
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const key = ssh2.utils.parseKey(hostKey);
  if (key instanceof Error) throw key;
  const shell = sshShell({
    host: '127.0.0.1',
    port: typeof address === 'object' && address ? address.port : 0,
    user: 'someone',
    name: 'stand-in',
    privateKey: pem(),
    hostKeySha256: fingerprintOf(key.getPublicSSH()),
  });
  cleanUps.push(async () => {
    await shell.close();
    for (const connection of open) connection.end();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return { shell, seen };
}

const finish = (channel: ssh2.ServerChannel, text = ''): void => {
  channel.write(text);
  channel.exit(0);
  channel.end();
};

describe('a connection that drops', () => {
  it('while a command runs: host-unreachable, and the command is not sent again', async () => {
    const { shell, seen } = await serve((connection) => connection.end());
    expect(await failure(shell.run(['true']))).toMatchObject({ code: 'host-unreachable', retryable: true });
    expect(seen.commands.length).toBe(1);
  });

  it('between commands: the next one connects anew, once', async () => {
    let drop: () => void = () => undefined;
    const { shell, seen } = await serve((connection, channel) => {
      drop = () => connection.end();
      finish(channel, 'ok');
    });
    expect((await shell.run(['one'])).stdout).toBe('ok');
    drop();
    await new Promise((resolve) => setImmediate(resolve));
    const second = await shell.run(['two']).catch((thrown: unknown) => thrown);
    // Found dropped before sending: made anew. Found only after sending: said, and made anew for the next one.
    if (second instanceof OffshootError) expect(second.code).toBe('host-unreachable');
    expect((await shell.run(['three'])).stdout).toBe('ok');
    expect(seen.connections).toBe(2);
    expect(seen.commands.filter((command) => command.includes("'two'")).length).toBeLessThanOrEqual(1);
  });

  it('commands at the same time share one connection', async () => {
    const { shell, seen } = await serve((_, channel) => finish(channel));
    await Promise.all(Array.from({ length: 20 }, () => shell.run(['true'])));
    expect(seen).toMatchObject({ connections: 1 });
    expect(seen.commands.length).toBe(20);
  });
});

describe('a server that misbehaves', () => {
  it('a command that never announces itself is given up on after an abort', async () => {
    const controller = new AbortController();
    const { shell } = await serve(() =>
      controller.abort(new OffshootError('cancelled', { publicMessage: 'Cancelled.' })),
    );
    expect((await failure(shell.run(['hang'], { signal: controller.signal }))).code).toBe('cancelled');
  });

  it('a login script’s words on standard error are not taken for the announcement', async () => {
    const { shell } = await serve((_, channel, command) => {
      const marker = /offshoot-[0-9a-f]{16}/.exec(command)?.[0] ?? '';
      channel.stderr.write(`Welcome!\n${marker} 7 S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 99\nreal words\n`);
      finish(channel, 'out');
    });
    expect(await shell.run(['true'])).toEqual({ code: 0, stdout: 'out', stderr: 'Welcome!\nreal words\n' });
  });

  it('a closed shell says so', async () => {
    const { shell } = await serve((_, channel) => finish(channel));
    await shell.run(['true']);
    await shell.close();
    expect((await failure(shell.run(['true']))).publicMessage).toContain('closed');
  });
});
