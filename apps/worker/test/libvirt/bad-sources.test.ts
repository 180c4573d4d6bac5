/** Sources that can't be cloned: the preview says why and what to do, the click changes nothing. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CloneMode, CloneRequest, PublicError } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import type { PostgresUrl } from '../support/services.ts';
import { clone, ended, options } from '../support/simulated.ts';
import { makeDisk, MIB, sha256 } from '@offshoot/tools/lab/disks';
import { LIBVIRT_URI, virsh, type GuestWish } from '@offshoot/tools/lab/host';
import { openLab, type Lab } from './support/lab.ts';
import { isRoot, loopDevice } from './support/loop.ts';

const url: PostgresUrl = inject('postgresUrl');
let lab: Lab;
beforeAll(async () => {
  lab = await openLab(url);
  await lab.worker();
});
afterAll(() => lab.close());
const named = (name: string): string => `${lab.prefix}${name}`;
const at = (file: string): string => join(lab.folder, file);

/** The words that a user reads; the test fails when there are none. */
async function refusalOf(work: Promise<unknown>): Promise<PublicError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof OffshootError) return error.toPublic();
    throw error;
  }
  throw new Error('it was not refused');
}

const request = (id: string, mode: CloneMode, name: string): CloneRequest => ({
  source: { type: 'guest', id },
  mode,
  names: [name],
  options,
});

/** Previews and clones it in both modes: refused with these words each time, and nothing is made. */
async function expectRefused(id: string, name: string, expected: object): Promise<void> {
  const filesBefore = await lab.files();
  for (const mode of ['full', 'linked'] as const) {
    const wanted = named(`${name}-${mode}`);
    expect(await refusalOf(lab.queues.preview('h1', request(id, mode, wanted)))).toMatchObject(expected);
    const batch = await clone(lab, mode, [wanted], { source: { type: 'guest', id } });
    const [first, ...rest] = await Promise.all(batch.operationIds.map((operation) => ended(lab, operation)));
    expect(first).toMatchObject({ state: 'failed', error: expected });
    // A linked clone waits for its capture, and fails with it.
    for (const row of rest) expect(row.state).not.toBe('finished');
    expect(await lab.db.prisma.guest.count({ where: { name: wanted } })).toBe(0);
    expect(await lab.domains()).not.toContain(wanted);
  }
  expect(await lab.files()).toEqual(filesBefore);
  await lab.expectTidy();
}

const sentence = expect.stringMatching(/^\w.+\.$/);

interface BadSource {
  what: string;
  /** Makes the disks of the source. */
  make: () => Promise<GuestWish>;
  /** Spoils them after the inventory has found the guest. */
  spoil?: () => Promise<void>;
  expected: { code: string; message: RegExp };
}

/**
 * Makes an image with LUKS inside. qemu-img times its key derivation by the thread's CPU clock and gives up where that
 * stands still for a moment, as in some virtual machines; asked again it goes on.
 */
async function makeLocked(path: string, format: readonly string[]): Promise<void> {
  const argv = ['create', '-q', '--object', 'secret,id=s,data=correct-horse', ...format, path, '8M'];
  for (let attempt = 1; ; attempt++) {
    const done = await execa('qemu-img', argv, { reject: false });
    if (done.exitCode === 0) return;
    if (attempt === 10 || !done.stderr.includes('Unable to get accurate CPU usage'))
      throw new Error(`qemu-img made no encrypted image: ${done.stderr}`);
  }
}

const cases: BadSource[] = [
  {
    what: 'a disk file that is missing',
    make: async () => {
      await makeDisk(at('gone.qcow2'), 4 * MIB);
      return { disks: [{ path: at('gone.qcow2') }] };
    },
    spoil: () => rm(at('gone.qcow2')),
    expected: { code: 'source-unreadable', message: /gone\.qcow2 is missing/ },
  },
  {
    what: 'a disk that is a directory',
    make: async () => {
      await mkdir(at('folder.qcow2'));
      return { disks: [{ path: at('folder.qcow2') }] };
    },
    expected: { code: 'source-unreadable', message: /is a directory/ },
  },
  {
    what: 'an encrypted disk',
    make: async () => {
      await makeLocked(at('locked.luks'), ['-f', 'luks', '-o', 'key-secret=s']);
      return { disks: [{ path: at('locked.luks'), format: 'raw', locked: true }] };
    },
    expected: { code: 'source-encrypted', message: /is encrypted/ },
  },
  {
    what: 'an encrypted disk in a qcow2 file',
    make: async () => {
      await makeLocked(at('locked.qcow2'), ['-f', 'qcow2', '-o', 'encrypt.format=luks,encrypt.key-secret=s']);
      return { disks: [{ path: at('locked.qcow2') }] };
    },
    expected: { code: 'source-encrypted', message: /is encrypted/ },
  },
  {
    what: 'a broken backing chain',
    make: async () => {
      await makeDisk(at('parent.qcow2'), 4 * MIB);
      await execa('qemu-img', [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-F',
        'qcow2',
        '-b',
        at('parent.qcow2'),
        at('child.qcow2'),
      ]);
      return { disks: [{ path: at('child.qcow2') }] };
    },
    spoil: () => rm(at('parent.qcow2')),
    expected: { code: 'broken-chain', message: /parent\.qcow2/ },
  },
  {
    what: 'a file that is no image of its format',
    make: async () => {
      await execa('truncate', ['--size', '1M', at('nonsense.qcow2')]);
      return { disks: [{ path: at('nonsense.qcow2') }] };
    },
    expected: { code: 'source-unreadable', message: /can’t be read/ },
  },
];

it.each(cases)('$what', async ({ what, make, spoil, expected }) => {
  const name = what.replaceAll(/\W+/g, '-').slice(0, 24);
  const id = await lab.source(named(name), await make());
  await spoil?.();
  await expectRefused(id, name, {
    code: expected.code,
    message: expect.stringMatching(expected.message),
    remedy: sentence,
    field: 'source',
  });
  await virsh('undefine', named(name));
});

it.skipIf(!isRoot)('a raw block device', async () => {
  await execa('truncate', ['--size', '8M', at('device.img')]);
  const digest = await sha256(at('device.img'));
  const device = await loopDevice(at('device.img'));
  try {
    const id = await lab.source(named('device'), {
      disks: [{ path: device.path, format: 'raw', type: 'block' }],
    });
    await expectRefused(id, 'device', {
      code: 'unsupported-disk',
      message: expect.stringContaining('raw block device'),
      remedy: sentence,
      field: 'source',
    });
    await virsh('undefine', named('device'));
  } finally {
    await device.close();
  }
  expect(await sha256(at('device.img'))).toBe(digest);
});

it('a source that vanishes between preview and click', async () => {
  await makeDisk(at('vanishing.qcow2'), 4 * MIB);
  const id = await lab.source(named('vanishing'), { disks: [{ path: at('vanishing.qcow2') }] });
  const preview = await lab.queues.preview('h1', request(id, 'full', named('v1')));
  const digest = await sha256(at('vanishing.qcow2'));
  await virsh('undefine', named('vanishing'));
  // The inventory has seen it go (and forgotten it) and the click is refused, or the worker finds out.
  const code = expect.stringMatching(/^(source-missing|not-found)$/);
  const expected = { code, message: sentence, remedy: sentence, field: /^source/ };
  const error = await clone(lab, 'full', [named('v1')], {
    source: { type: 'guest', id },
    agreedFingerprint: preview.fingerprint,
  }).then(
    async (batch) => (await ended(lab, batch.operationIds[0])).error as unknown as PublicError,
    (thrown: unknown) => refusalOf(Promise.reject(thrown)),
  );
  expect({ ...error, field: error.field ?? '' }).toMatchObject({
    ...expected,
    field: expect.stringMatching(expected.field),
  });
  expect(await lab.domains()).not.toContain(named('v1'));
  expect(await sha256(at('vanishing.qcow2'))).toBe(digest);
  await expect.poll(() => lab.db.prisma.guest.findUnique({ where: { id } }), { timeout: 15_000 }).toBeNull();
  await lab.expectTidy();
});

it('a libvirt that is gone', async () => {
  const away = await openLab(url);
  try {
    const here = await away.worker();
    await makeDisk(join(away.folder, 'disk.qcow2'), 4 * MIB);
    const id = await away.source(`${away.prefix}source`, {
      disks: [{ path: join(away.folder, 'disk.qcow2') }],
    });
    await here.stop();
    await away.worker({ OFFSHOOT_LIBVIRT_URI: `${LIBVIRT_URI}?socket=${away.folder}/nobody-listens` });
    const expected = { code: 'host-unreachable', message: sentence, remedy: sentence };
    expect(await refusalOf(away.queues.preview('h1', request(id, 'full', `${away.prefix}u1`)))).toMatchObject(
      expected,
    );
    const batch = await clone(away, 'full', [`${away.prefix}u1`], { source: { type: 'guest', id } });
    expect(await ended(away, batch.operationIds[0])).toMatchObject({ state: 'failed', error: expected });
    await expect
      .poll(() => away.db.prisma.host.findUnique({ where: { id: 'h1' } }), { timeout: 15_000 })
      .toMatchObject({ problem: sentence });
    expect(await away.domains()).toEqual([`${away.prefix}source`]);
    expect(await away.files()).toEqual([]);
  } finally {
    await away.close();
  }
});
