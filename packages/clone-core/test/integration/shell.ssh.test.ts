import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OffshootError } from '../../src/errors.ts';
import type { Shell } from '../../src/shell/shell.ts';
import { localShell } from '../../src/shell/local.ts';
import { sshShell, type SshTarget } from '../../src/shell/ssh.ts';
import { alive, failure, until } from '../conformance/until.ts';
import { freePort, hasSshd, NO_SSHD, startSshd, type Sshd } from './sshd.ts';

const cancelled = (): OffshootError => new OffshootError('cancelled', { publicMessage: 'Cancelled by you.' });

describe.skipIf(!hasSshd)(`shell over a real OpenSSH server${hasSshd ? '' : ` (${NO_SSHD})`}`, () => {
  let sshd: Sshd;
  let shell: Shell;
  const opened: Shell[] = [];
  const open = (part: Partial<SshTarget> = {}): Shell => {
    const made = sshShell({ ...sshd.target, ...part });
    opened.push(made);
    return made;
  };
  beforeAll(async () => {
    sshd = await startSshd();
    shell = open();
  });
  afterAll(async () => {
    for (const each of opened) await each.close();
    await sshd.destroy();
  });

  it('dials a Unix socket of the host, and rejects where nobody listens', async () => {
    const socket = join(sshd.folder, 'echo.sock');
    const server = createServer((connection) => void connection.pipe(connection));
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    try {
      for (const dialling of [shell, localShell()]) {
        const stream = await dialling.dial(socket);
        stream.write(Buffer.from([0, 255, 128]));
        const echoed = await new Promise<Buffer>((resolve) => stream.once('data', resolve));
        expect([...echoed]).toEqual([0, 255, 128]);
        stream.destroy();
        expect(await failure(dialling.dial(`${socket}.none`))).toBeInstanceOf(OffshootError);
      }
    } finally {
      server.close();
    }
  });

  describe('run', () => {
    it('passes argv, input and environment as they are; gives code, output and errors', async () => {
      const nasty = ['a b', "it's", '$(touch /tmp/never)', '"', '\\', '\n', '*', '', '–é🐧', '--', '#'];
      expect((await shell.run(['printf', '%s\\0', ...nasty])).stdout.split('\0').slice(0, -1)).toEqual(nasty);
      const result = await shell.run(['sh', '-c', 'cat; echo "$LC_ALL $X" >&2; exit 3'], {
        input: 'ä\n',
        env: { X: "o'k" },
        okCodes: [3],
      });
      expect(result).toEqual({ code: 3, stdout: 'ä\n', stderr: "C o'k\n" });
      expect((await shell.run(['cat'])).stdout).toBe('');
    });

    it('says command-failed, not-found and permission as the local shell does', async () => {
      expect(await failure(shell.run(['sh', '-c', 'echo broken >&2; exit 4']))).toMatchObject({
        code: 'command-failed',
        context: { code: 4, stderr: 'broken\n' },
      });
      const plain = join(sshd.folder, 'plain');
      writeFileSync(plain, 'x', { mode: 0o644 });
      for (const dieWithParent of [false, true]) {
        expect(await failure(shell.run(['offshoot-no-such-program'], { dieWithParent }))).toMatchObject({
          code: 'not-found',
        });
        expect(await failure(shell.run([plain], { dieWithParent }))).toMatchObject({ code: 'permission' });
      }
    });

    it('carries large input and output, and ends what writes too much', async () => {
      const input = Buffer.alloc(5 * 1024 * 1024, 'abcdefgh');
      expect((await shell.run(['cat'], { input })).stdout).toBe(input.toString());
      expect((await failure(shell.run(['yes']))).publicMessage).toContain('16 MiB');
      let heard = 0;
      const argv = ['head', '-c', String(20 * 1024 * 1024), '/dev/zero'];
      await shell.run(argv, { onStdout: (chunk) => (heard += chunk.length) });
      expect(heard).toBe(20 * 1024 * 1024);
    });

    it.each([
      ['that obeys TERM', 'echo $$; exec sleep 600'],
      ['that ignores TERM', 'trap "" TERM; echo $$; while :; do sleep 1; done'],
      ['whose child holds the pipes', 'trap "exit 1" TERM; sleep 3 & echo $$; wait'],
    ])('an abort ends exactly the remote process %s', async (_, script) => {
      const bystander = spawn('sleep', ['600']);
      const controller = new AbortController();
      const reason = cancelled();
      let pid = 0;
      const onStdout = (chunk: string): void => {
        pid = Number(chunk);
        controller.abort(reason);
      };
      expect(await failure(shell.run(['sh', '-c', script], { signal: controller.signal, onStdout }))).toBe(
        reason,
      );
      expect(pid).toBeGreaterThan(1);
      expect(alive(pid)).toBe(false);
      expect(alive(bystander.pid ?? 0)).toBe(true);
      bystander.kill();
    });

    it('times out, and the remote process is gone', async () => {
      let pid = 0;
      const run = shell.run(['sh', '-c', 'echo $$; exec sleep 600'], {
        timeoutMs: 500,
        onStdout: (chunk) => (pid = Number(chunk)),
      });
      expect(await failure(run)).toMatchObject({ code: 'timeout', retryable: true });
      expect(alive(pid)).toBe(false);
    });

    it('runs many commands at once; one that waits for its turn can be cancelled', async () => {
      const outputs = await Promise.all(
        Array.from({ length: 30 }, async (_, i) => (await shell.run(['echo', String(i)])).stdout.trim()),
      );
      expect(outputs).toEqual(Array.from({ length: 30 }, (_, i) => String(i)));
      const controller = new AbortController();
      const { signal } = controller;
      const runs = Array.from({ length: 12 }, () => failure(shell.run(['sleep', '600'], { signal })));
      controller.abort(cancelled());
      for (const error of await Promise.all(runs)) expect(error.code).toBe('cancelled');
    });

    it('with dieWithParent, a lost connection ends the remote process; the next command connects anew', async () => {
      const own = open();
      let pid = 0;
      const running = failure(
        own.run(['sh', '-c', 'echo $$; exec sleep 600'], {
          dieWithParent: true,
          timeoutMs: 0,
          onStdout: (chunk) => (pid = Number(chunk)),
        }),
      );
      await until(() => pid > 0, 'the remote process');
      await sshd.dropSessions();
      expect(await running).toMatchObject({ code: 'host-unreachable', retryable: true });
      await until(() => !alive(pid), 'the remote process to be gone');
      expect((await own.run(['echo', 'again'])).stdout).toBe('again\n');
    });

    it('a server that is gone is host-unreachable; when it is back, so are we', async () => {
      const own = open();
      await own.run(['true']);
      await sshd.stop();
      expect(await failure(own.run(['true']))).toMatchObject({ code: 'host-unreachable', retryable: true });
      await sshd.start();
      expect((await own.run(['echo', 'back'])).stdout).toBe('back\n');
      const error = await failure(open({ port: await freePort() }).run(['true']));
      expect(error).toMatchObject({ code: 'host-unreachable', retryable: true });
      expect(error.publicMessage).toContain('testhost');
    });
  });

  describe('trust', () => {
    it('another host key is refused, with both fingerprints named, before anything is sent', async () => {
      const pinned = `SHA256:${'A'.repeat(43)}`;
      const error = await failure(open({ hostKeySha256: pinned }).run(['true']));
      expect(error).toMatchObject({ code: 'host-key-mismatch', retryable: false });
      expect(error.publicMessage).toContain(pinned);
      expect(error.publicMessage).toContain(sshd.target.hostKeySha256);
      expect(
        (await open({ hostKeySha256: [pinned, String(sshd.target.hostKeySha256)] }).run(['true'])).code,
      ).toBe(0);
    });

    it('a key that the host does not know, or that is none, is permission', async () => {
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(sshd.folder, 'stranger')]);
      const stranger = readFileSync(join(sshd.folder, 'stranger'));
      expect((await failure(open({ privateKey: stranger }).run(['true']))).code).toBe('permission');
      expect((await failure(open({ privateKey: 'no key' }).run(['true']))).code).toBe('permission');
    });
  });

  describe('lines', () => {
    it('yields lines and ends its remote process when the loop is left or aborted', async () => {
      const seen: string[] = [];
      for await (const line of shell.lines(['printf', 'a\\nb ä\\nlast'], {
        signal: new AbortController().signal,
      }))
        seen.push(line);
      expect(seen).toEqual(['a', 'b ä', 'last']);
      for (const how of ['left', 'aborted']) {
        const controller = new AbortController();
        let pid = 0;
        for await (const line of shell.lines(['sh', '-c', 'echo $$; exec sleep 600'], {
          signal: controller.signal,
        })) {
          pid = Number(line);
          if (how === 'left') break;
          controller.abort();
        }
        expect(pid).toBeGreaterThan(1);
        expect(alive(pid)).toBe(false);
      }
    });

    it('throws when the program fails', async () => {
      const drain = async (): Promise<void> => {
        for await (const line of shell.lines(['sh', '-c', 'echo one; exit 5'], {
          signal: new AbortController().signal,
        }))
          expect(line).toBe('one');
      };
      expect((await failure(drain())).code).toBe('command-failed');
    });
  });

  describe('files', () => {
    const at = (name: string): string => join(sshd.folder, name);

    it('writes atomically with the mode asked for, reads, removes', async () => {
      for (const content of ['', 'one\n', Buffer.alloc(3_000_000, 'x'), "it's $(here)"])
        await shell.writeFile(at("a 'file'"), content, 0o640);
      expect(await shell.readText(at("a 'file'"))).toBe("it's $(here)");
      expect(statSync(at("a 'file'")).mode & 0o777).toBe(0o640);
      writeFileSync(at("a 'file'.offshoot-writing"), 'cut off');
      expect(await shell.remove(at("a 'file'"))).toBe(true);
      expect(await shell.remove(at("a 'file'"))).toBe(false);
      expect(readdirSync(sshd.folder).filter((name) => name.startsWith('a '))).toEqual([]);
      expect((await failure(shell.writeFile(at('none/x'), 'x'))).code).toBe('not-found');
    });

    it('stat is what the local one says', async () => {
      execFileSync('truncate', ['-s', '10M', at('sparse')]);
      symlinkSync(at('sparse'), at('link'));
      const local = statSync(at('sparse'));
      expect(await shell.stat(at('link'))).toEqual({
        type: 'file',
        size: local.size,
        allocated: local.blocks * 512,
        mode: local.mode & 0o7777,
        inode: local.ino,
        modifiedMs: Math.floor(local.mtimeMs),
      });
      expect((await shell.stat(sshd.folder))?.type).toBe('directory');
      expect((await shell.stat('/dev/null'))?.type).toBe('other');
      expect(await shell.stat(at('nothing'))).toBeUndefined();
      expect(await shell.stat(at('sparse/below'))).toBeUndefined();
      expect(await shell.readText(at('nothing'))).toBeUndefined();
    });

    it('makes, renames, lists, syncs, changes modes; says not-found for what is missing', async () => {
      await shell.mkdir(at('d/e'));
      await shell.writeFile(at('d/x'), 'x');
      await shell.rename(at('d/x'), at('d/y\nz'));
      await shell.sync(at('d/y\nz'));
      await shell.chmod(at('d/y\nz'), 0o400);
      expect((await shell.list(at('d'))).toSorted()).toEqual(['e', 'y\nz']);
      expect(statSync(at('d/y\nz')).mode & 0o777).toBe(0o400);
      const missing = [
        shell.rename(at('no'), at('no2')),
        shell.sync(at('no')),
        shell.chmod(at('no'), 0o600),
        shell.list(at('no')),
      ];
      for (const error of await Promise.all(missing.map(failure))) expect(error.code).toBe('not-found');
      expect(existsSync(at('no2'))).toBe(false);
      chmodSync(at('d/y\nz'), 0o600);
    });

    it('knows the filesystem, also of a path not made yet', async () => {
      const now = await shell.filesystem(sshd.folder);
      expect(now.type).toBe(
        execFileSync('findmnt', ['-n', '-o', 'FSTYPE', '-T', sshd.folder]).toString().trim(),
      );
      expect(now.totalBytes).toBeGreaterThan(now.freeBytes);
      expect(await shell.filesystem(at('not/yet'))).toMatchObject({
        type: now.type,
        totalBytes: now.totalBytes,
      });
    });
  });
});
