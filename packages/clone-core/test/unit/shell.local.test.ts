import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { OffshootError } from '../../src/errors.ts';
import { typeFromMountinfo } from '../../src/shell/local-files.ts';
import { localShell } from '../../src/shell/local.ts';
import { alive, failure, until } from '../conformance/until.ts';

const shell = localShell();
const folder = mkdtempSync(join(tmpdir(), 'offshoot-shell-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('run', () => {
  it('gives code, output and errors; locale is C; secrets of the worker are not passed on', async () => {
    process.env['OFFSHOOT_TEST_SECRET'] = 'x';
    const { code, stdout, stderr } = await shell.run(
      ['sh', '-c', 'echo out; echo err >&2; echo "$LC_ALL $OFFSHOOT_TEST_SECRET|$ADDED"'],
      {
        env: { ADDED: 'yes' },
      },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'out\nC |yes\n', stderr: 'err\n' });
  });

  it('passes every byte of an argument as it is: no shell looks at it', async () => {
    const nasty = [
      'a b',
      '$(touch /tmp/never)',
      '`id`',
      "it's",
      '"',
      '\\',
      '\n',
      '*',
      '',
      '–é🐧',
      '--',
      ';rm',
    ];
    const { stdout } = await shell.run(['printf', '%s\\0', ...nasty]);
    expect(stdout.split('\0').slice(0, -1)).toEqual(nasty);
  });

  it('says command-failed with argv, code and stderr, and takes okCodes', async () => {
    const error = await failure(shell.run(['sh', '-c', 'echo "no such disk" >&2; exit 3']));
    expect(error.code).toBe('command-failed');
    expect(error.publicMessage).toContain('no such disk');
    expect(error.context).toMatchObject({ code: 3, stderr: 'no such disk\n' });
    expect((await shell.run(['sh', '-c', 'exit 3'], { okCodes: [0, 3] })).code).toBe(3);
  });

  it.each([{ dieWithParent: false }, { dieWithParent: true }])(
    'names a missing program and its remedy ($dieWithParent)',
    async (options) => {
      const error = await failure(shell.run(['offshoot-no-such-program'], options));
      expect(error.code).toBe('not-found');
      expect(error.publicMessage).toContain('offshoot-no-such-program');
      expect(error.remedy).toContain('offshoot-no-such-program');
    },
  );

  it('says permission for what may not be run', async () => {
    const path = join(folder, 'plain.txt');
    writeFileSync(path, 'x', { mode: 0o644 });
    for (const dieWithParent of [false, true])
      expect((await failure(shell.run([path], { dieWithParent }))).code).toBe('permission');
  });

  it('refuses an empty argv and a NUL byte', async () => {
    expect((await failure(shell.run([]))).code).toBe('invalid-input');
    expect((await failure(shell.run(['echo', 'a\0b']))).code).toBe('invalid-input');
  });

  it('feeds input, and survives a program that does not read it', async () => {
    const input = Buffer.alloc(3 * 1024 * 1024, 'a');
    expect((await shell.run(['wc', '-c'], { input })).stdout.trim()).toBe(String(input.length));
    expect((await shell.run(['true'], { input })).code).toBe(0);
    expect((await shell.run(['cat'])).stdout).toBe('');
  });

  it('keeps umlauts whole across chunks', async () => {
    const text = 'ä–🐧'.repeat(100_000);
    expect((await shell.run(['cat'], { input: text })).stdout).toBe(text);
  });

  it('ends a program that writes more than 16 MiB, unless someone listens', async () => {
    const argv = ['head', '-c', String(20 * 1024 * 1024), '/dev/zero'];
    expect((await failure(shell.run(argv))).publicMessage).toContain('16 MiB');
    let heard = 0;
    const { stdout } = await shell.run(argv, { onStdout: (chunk) => (heard += chunk.length) });
    expect(heard).toBe(20 * 1024 * 1024);
    expect(stdout.length).toBeLessThanOrEqual(16 * 1024 * 1024);
  });

  it('times out, and the process is gone', async () => {
    let pid = 0;
    const error = await failure(
      shell.run(['sh', '-c', 'echo $$; exec sleep 600'], {
        timeoutMs: 300,
        onStdout: (chunk) => (pid = Number(chunk)),
      }),
    );
    expect(error).toMatchObject({ code: 'timeout', retryable: true });
    expect(alive(pid)).toBe(false);
  });

  it.each([
    ['that obeys TERM', 'echo $$; exec sleep 600'],
    ['that ignores TERM', 'trap "" TERM; echo $$; while :; do sleep 1; done'],
  ])(
    'an abort ends a process %s before run rejects with the reason, and forgets the signal',
    async (_, script) => {
      const controller = new AbortController();
      const reason = new OffshootError('cancelled', { publicMessage: 'Cancelled by you.' });
      let pid = 0;
      const error = await failure(
        shell.run(['sh', '-c', script], {
          signal: controller.signal,
          dieWithParent: true,
          onStdout: (chunk) => {
            pid = Number(chunk);
            controller.abort(reason);
          },
        }),
      );
      expect(error).toBe(reason);
      expect(pid).toBeGreaterThan(1);
      expect(alive(pid)).toBe(false);
    },
  );

  it('signals only its own process', async () => {
    const bystander = spawn('sleep', ['600']);
    const controller = new AbortController();
    const running = failure(shell.run(['sleep', '600'], { signal: controller.signal }));
    controller.abort(new OffshootError('cancelled', { publicMessage: 'Cancelled.' }));
    await running;
    expect(alive(bystander.pid ?? 0)).toBe(true);
    bystander.kill();
  });

  it('does not wait for a grandchild that holds the pipes of an aborted process', async () => {
    const controller = new AbortController();
    let grandchild = 0;
    const error = await failure(
      shell.run(['sh', '-c', 'sleep 600 & echo $!; wait'], {
        signal: controller.signal,
        onStdout: (chunk) => {
          grandchild = Number(chunk);
          controller.abort(new OffshootError('cancelled', { publicMessage: 'Cancelled.' }));
        },
      }),
    );
    expect(error.code).toBe('cancelled');
    process.kill(grandchild, 'SIGKILL');
  });

  it('starts nothing when already aborted', async () => {
    const marker = join(folder, 'never');
    const signal = AbortSignal.abort(new OffshootError('cancelled', { publicMessage: 'Cancelled.' }));
    expect((await failure(shell.run(['touch', marker], { signal }))).code).toBe('cancelled');
    expect(existsSync(marker)).toBe(false);
  });

  it('a process started with dieWithParent dies with a parent that is killed with -9', async () => {
    const localTs = new URL('../../src/shell/local.ts', import.meta.url).href;
    const program = `import { localShell } from ${JSON.stringify(localTs)};
      await localShell().run(['sh', '-c', 'echo $$; exec sleep 600'], { dieWithParent: true, timeoutMs: 0, onStdout: (c) => process.stdout.write(c) });`;
    const file = join(folder, 'parent.mts');
    writeFileSync(file, program);
    const parent = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const pid = await new Promise<number>((resolve) =>
      parent.stdout.once('data', (chunk: Buffer) => resolve(Number(String(chunk)))),
    );
    expect(alive(pid)).toBe(true);
    parent.kill('SIGKILL');
    await until(() => !alive(pid), 'the child to be gone');
  });
});

describe('lines', () => {
  it('yields whole lines, the last one without its newline too', async () => {
    const seen: string[] = [];
    for await (const line of shell.lines(['printf', 'a\\nb ä\\n\\nlast'], {
      signal: new AbortController().signal,
    }))
      seen.push(line);
    expect(seen).toEqual(['a', 'b ä', '', 'last']);
  });

  it('ends its program when the loop is left early', async () => {
    let pid = 0;
    for await (const line of shell.lines(['sh', '-c', 'echo $$; exec sleep 600'], {
      signal: new AbortController().signal,
    })) {
      pid = Number(line);
      break;
    }
    expect(pid).toBeGreaterThan(1);
    expect(alive(pid)).toBe(false);
  });

  it('ends quietly on abort, with its program', async () => {
    const controller = new AbortController();
    let pid = 0;
    for await (const line of shell.lines(['sh', '-c', 'echo $$; exec sleep 600'], {
      signal: controller.signal,
    })) {
      pid = Number(line);
      setTimeout(() => controller.abort(), 5);
    }
    expect(alive(pid)).toBe(false);
  });

  it('throws when the program fails or is missing', async () => {
    const drain = async (argv: string[]): Promise<void> => {
      for await (const line of shell.lines(argv, { signal: new AbortController().signal }))
        expect(line).toBe('one');
    };
    expect(await failure(drain(['sh', '-c', 'echo one; echo broken >&2; exit 5']))).toMatchObject({
      code: 'command-failed',
    });
    expect((await failure(drain(['offshoot-no-such-program']))).code).toBe('not-found');
  });
});

describe('files', () => {
  const at = (name: string): string => join(folder, name);

  it('writes atomically with the mode asked for, over what was there', async () => {
    await shell.writeFile(at('a'), 'one');
    await shell.writeFile(at('a'), Buffer.from('two'), 0o640);
    expect(await shell.readText(at('a'))).toBe('two');
    expect(statSync(at('a')).mode & 0o777).toBe(0o640);
    expect(readdirSync(folder).filter((name) => name.startsWith('a.'))).toEqual([]);
  });

  it('leaves the old content and no temporary file when writing fails', async () => {
    await shell.mkdir(at('dir/child'));
    expect((await failure(shell.writeFile(at('dir'), 'x'))).code).toMatch(/command-failed|in-use/);
    expect(readdirSync(folder).filter((name) => name.startsWith('dir.'))).toEqual([]);
    expect((await failure(shell.writeFile(at('none/x'), 'x'))).code).toBe('not-found');
  });

  it('a temporary file that a killed worker left is cleared by remove', async () => {
    writeFileSync(at('b.offshoot-writing'), 'half');
    expect(await shell.remove(at('b'))).toBe(false);
    expect(existsSync(at('b.offshoot-writing'))).toBe(false);
    await shell.writeFile(at('b'), 'x');
    expect(await shell.remove(at('b'))).toBe(true);
    expect(await shell.remove(at('b'))).toBe(false);
  });

  it('stat follows links, counts allocated bytes, and is undefined for nothing', async () => {
    execFileSync('truncate', ['-s', '10M', at('sparse')]);
    symlinkSync(at('sparse'), at('link'));
    expect(await shell.stat(at('link'))).toMatchObject({
      type: 'file',
      size: 10 * 1024 * 1024,
      allocated: 0,
    });
    expect((await shell.stat(folder))?.type).toBe('directory');
    expect((await shell.stat('/dev/null'))?.type).toBe('other');
    expect(await shell.stat(at('nothing'))).toBeUndefined();
    expect(await shell.stat(at('sparse/below'))).toBeUndefined();
    expect(await shell.readText(at('nothing'))).toBeUndefined();
  });

  it('renames, lists, syncs and changes modes; says not-found for what is missing', async () => {
    await shell.mkdir(at('d'));
    await shell.writeFile(at('d/x'), 'x');
    await shell.rename(at('d/x'), at('d/y'));
    await shell.sync(at('d/y'));
    await shell.chmod(at('d/y'), 0o444);
    expect(await shell.list(at('d'))).toEqual(['y']);
    expect((await shell.stat(at('d/y')))?.mode).toBe(0o444);
    const missing = [
      shell.rename(at('no'), at('no2')),
      shell.sync(at('no')),
      shell.chmod(at('no'), 0o600),
      shell.list(at('no')),
    ];
    for (const error of await Promise.all(missing.map(failure))) expect(error.code).toBe('not-found');
    expect((await failure(shell.readText(at('sparse')).then(() => shell.remove(at('d'))))).code).toMatch(
      /permission|command-failed/,
    );
  });

  it('refuses to read what is no small file', async () => {
    execFileSync('truncate', ['-s', '17M', at('big')]);
    expect((await failure(shell.readText(at('big')))).code).toBe('command-failed');
    expect(readFileSync(at('a'), 'utf8')).toBe('two');
  });

  it('knows the filesystem of a path, also of one that is not made yet', async () => {
    const now = await shell.filesystem(folder);
    expect(now.type).toBe(execFileSync('findmnt', ['-n', '-o', 'FSTYPE', '-T', folder]).toString().trim());
    expect(now.totalBytes).toBeGreaterThan(now.freeBytes);
    expect((await shell.filesystem(at('not/made/yet'))).totalBytes).toBe(now.totalBytes);
  });

  it('reads mount points with spaces and takes the last, longest match', () => {
    const mounts = [
      '1 0 8:1 / / rw - ext4 /dev/a rw',
      '2 1 8:2 / /srv/my\\040disks rw shared:1 - xfs /dev/b rw',
      '3 2 8:3 / /srv/my\\040disks rw - btrfs /dev/c rw',
    ].join('\n');
    expect(typeFromMountinfo(mounts, '/srv/my disks/x')).toBe('btrfs');
    expect(typeFromMountinfo(mounts, '/srv/my disks2')).toBe('ext4');
  });
});
