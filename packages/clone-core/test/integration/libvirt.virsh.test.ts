/** Several commands in one virsh process: this machine's own virsh tells what each came to. */
import { expect, it } from 'vitest';
import { foundIn, outOf, Virsh } from '../../src/drivers/libvirt/virsh.ts';
import { OffshootError } from '../../src/errors.ts';
import { localShell } from '../../src/shell/local.ts';

// libvirt's own test driver, in the process: https://libvirt.org/drvtest.html
const virsh = new Virsh(localShell(), 'test:///default');
const nobody = '00000000-0000-4000-8000-000000000000';

it('each output is its own, and one that fails keeps none from being run', async () => {
  const words = [`it's; "a" \\ word`, 'of\ntwo lines', '$HOME `id` # * é'];
  const [state, missing, xml, bad, said] = await virsh.each([
    ['domstate', '--domain', 'test'],
    ['dumpxml', '--domain', nobody],
    ['dumpxml', '--domain', 'test'],
    ['snapshot-info', '--domain', 'test', '--snapshotname', 'none'],
    ['echo', '--', ...words],
  ]);
  expect(outOf(state)).toBe('running');
  expect(foundIn(missing)).toBeUndefined();
  expect(() => outOf(missing)).toThrow('knows no such guest');
  expect(outOf(xml)).toMatch(/^<domain type='test'[\s\S]*<\/domain>$/);
  expect(bad).toMatchObject({
    error: {
      code: 'command-failed',
      context: { stderr: expect.stringContaining('no domain snapshot with matching name') as string },
    },
  });
  expect(outOf(said)).toBe(words.join(' '));
});

it('the errors are those of a command alone', async () => {
  const words = ['dumpxml', '--domain', nobody];
  const alone: unknown = await virsh.run(words).catch((thrown: unknown) => thrown);
  const [among] = await virsh.each([words]);
  if (!among || !('error' in among) || !(alone instanceof Error)) throw new Error('no error');
  expect(among.error.toPublic()).toEqual((alone as typeof among.error).toPublic());
});

it('a libvirt that is not there, a command that is none, and an abort end all of them', async () => {
  const gone = new Virsh(localShell(), 'qemu+unix:///system?socket=/nowhere/libvirt-sock');
  await expect(gone.each([['list'], ['version']])).rejects.toMatchObject({ code: 'host-unreachable' });
  await expect(virsh.each([['version'], ['no-such-command']])).rejects.toMatchObject({
    code: 'command-failed',
  });
  const stop = new AbortController();
  stop.abort(new OffshootError('cancelled', { publicMessage: 'stopped' }));
  await expect(virsh.each([['version']], { signal: stop.signal })).rejects.toMatchObject({
    code: 'cancelled',
  });
  expect(await virsh.each([])).toEqual([]);
});

it('what one operation asks at a moment shares a process, each with its own answers; another’s does not', async () => {
  const local = localShell();
  const started: string[] = [];
  const asked = new Virsh(
    {
      ...local,
      run: (argv, options) => {
        started.push(argv.at(-1) ?? '');
        return local.run(argv, options);
      },
    },
    'test:///default',
  );
  const [mine, theirs] = [new AbortController(), new AbortController()];
  const results = await Promise.allSettled([
    asked.ask([['echo', 'one'], ['version']], mine),
    asked.ask([['dumpxml', '--domain', nobody]], mine),
    asked.ask([['echo', 'three']], mine),
    asked.ask([['echo', 'theirs']], theirs),
    Promise.resolve().then(() => theirs.abort(new OffshootError('cancelled', { publicMessage: 'stopped' }))),
  ]);
  expect(started).toEqual([expect.stringMatching(/one[\s\S]*three/), expect.stringMatching(/theirs/)]);
  const [first, second, third, fourth] = results.map((each) => ('value' in each ? each.value : each.reason));
  expect(first).toMatchObject([{ out: 'one' }, { out: expect.stringContaining('libvirt') as string }]);
  expect(second).toMatchObject([{ error: { code: 'not-found' } }]);
  expect(third).toEqual([{ out: 'three' }]);
  expect(fourth).toMatchObject({ code: 'cancelled' });
  // A later moment is another process: what it asks may have changed.
  expect(await asked.ask([['echo', 'later']], mine)).toEqual([{ out: 'later' }]);
  expect(started).toHaveLength(3);
});
