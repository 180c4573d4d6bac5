/** Bases between hosts: real files, real TLS on this machine's loopback. */
import { createHash, randomBytes } from 'node:crypto';
import {
  mkdtemp,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keepList, listOf, rootOf } from '../../src/disks/transfer/block-list.ts';
import { fetchFile, type Fetched, type FetchParts, type Source } from '../../src/disks/transfer/fetch.ts';
import { holdingsOf, type Peers } from '../../src/disks/transfer/peers.ts';
import { Receiving, type Incoming } from '../../src/disks/transfer/receiving.ts';
import { serveFile } from '../../src/disks/transfer/serve.ts';
import type { StepContext } from '../../src/driver.ts';
import { fetchBaseStep } from '../../src/drivers/libvirt/steps/fetch-base.ts';
import { baseDigest } from '../../src/drivers/libvirt/steps/manifest.ts';
import type { FetchBaseStep } from '../../src/drivers/libvirt/types.ts';
import { OffshootError } from '../../src/errors.ts';
import { localShell } from '../../src/shell/local.ts';
import { dialPeer } from '../../src/shell/peers/dial.ts';
import { peerKey, type PeerKey } from '../../src/shell/peers/key.ts';
import { servePeers, type PeerServer } from '../../src/shell/peers/serve.ts';
import { command } from './libvirt.lab.ts';

const MIB = 1024 ** 2;
const BASE = 'ab'.repeat(32);
const FILE = 'vda.qcow2';
const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

/** A host's worker, as far as transfers go. */
class Host {
  readonly receiving = new Receiving();
  readonly streams = new Set<Duplex>();
  sentBytes = 0;
  server!: PeerServer;
  key!: PeerKey;

  constructor(
    readonly name: string,
    readonly store: string,
    private readonly known: Map<string, string>,
  ) {}

  async begin(): Promise<void> {
    await mkdir(this.store, { recursive: true });
    this.key = await peerKey(join(this.store, 'peer_key'));
    this.known.set(this.key.public, this.name);
    const holdings = holdingsOf(this.store, localShell(), this.receiving);
    this.server = await servePeers({
      address: '127.0.0.1',
      port: 0,
      key: this.key,
      whoIs: (key) => Promise.resolve(this.known.get(key)),
      serve: async (stream) => {
        this.streams.add(stream);
        const write = stream.write.bind(stream) as (chunk: Buffer) => boolean;
        stream.write = (chunk: Buffer): boolean => {
          this.sentBytes += chunk.length;
          return write(chunk);
        };
        await serveFile(stream, holdings);
      },
      onError: () => undefined,
    });
  }

  folder(base = BASE): string {
    return join(this.store, 'bases', base.slice(0, 12));
  }

  async hold(content: Buffer, base = BASE): Promise<string> {
    const folder = this.folder(base);
    await mkdir(folder, { recursive: true });
    const path = join(folder, FILE);
    await writeFile(path, content);
    await writeFile(join(folder, 'base.json'), JSON.stringify({ digest: base, disks: [{ path }] }));
    return path;
  }
}

let scratch: string;
let hosts: Host[];
const host = (index: number): Host => {
  const found = hosts[index];
  if (!found) throw new Error('no such host');
  return found;
};

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'offshoot-transfer-'));
  const known = new Map<string, string>();
  hosts = ['one', 'two', 'three'].map((name) => new Host(name, join(scratch, name), known));
  for (const each of hosts) await each.begin();
});
afterEach(async () => {
  for (const each of hosts) await each.server.close();
  await rm(scratch, { recursive: true });
});

interface Wish {
  from: Host[];
  digest?: string;
  /** What names its list of blocks, as the receiver knows it. */
  blocks?: string;
  log?: (line: string) => void;
  older?: string[];
  report?: FetchParts['report'];
  bytesPerSecond?: number;
  signal?: AbortSignal;
  incoming?: Incoming;
}

function fetchTo(target: Host, wish: Wish): Promise<Fetched> {
  const to = join(target.store, 'coming');
  const incoming = wish.incoming ?? target.receiving.begin(BASE, FILE, to);
  const { digest, blocks, log = () => undefined, report = () => undefined, bytesPerSecond } = wish;
  return fetchFile(
    {
      base: BASE,
      file: FILE,
      to,
      ...(digest === undefined ? {} : { digest }),
      ...(blocks === undefined ? {} : { blocks }),
    },
    {
      sources: wish.from.map(({ name }) => ({ hostId: name, name })),
      connect: (source: Source, signal) => {
        const from = hosts.find(({ name }) => name === source.hostId);
        if (!from) throw new Error('no such host');
        return dialPeer(
          { name: from.name, address: '127.0.0.1', port: from.server.port, publicKey: from.key.public },
          target.key,
          signal,
        );
      },
      older: wish.older ?? [],
      listOf: (path) => listOf(path, localShell(), log),
      incoming,
      sync: (path) => localShell().sync(path),
      report,
      log,
      signal: wish.signal ?? new AbortController().signal,
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    },
  );
}

/** What a capture says of such a file. */
const sealed = (content: Buffer): { digest: string; blocks: string } => {
  const hashes = Array.from({ length: Math.ceil(content.length / 65_536) }, (_, at) =>
    createHash('sha256')
      .update(content.subarray(at * 65_536, (at + 1) * 65_536))
      .digest(),
  );
  return { digest: sha256(content), blocks: sha256(Buffer.concat(hashes)) };
};

// Digests: a comparison of buffers that differ would take minutes to print.
const arrived = async (target: Host): Promise<string> => sha256(await readFile(join(target.store, 'coming')));

describe('a base goes from one host to another', () => {
  it('whole, each byte once', async () => {
    const content = randomBytes(9 * MIB + 12_345);
    await host(0).hold(content);
    const fetched = await fetchTo(host(1), { from: [host(0)], digest: sha256(content) });
    expect(await arrived(host(1))).toBe(sha256(content));
    expect(fetched).toMatchObject({
      receivedBytes: content.length,
      reusedBytes: 0,
      interruptions: 0,
      from: ['one'],
    });
    expect(host(0).sentBytes).toBeLessThan(content.length * 1.001);
  });

  it('goes on where it was when the connection is cut, again and again', async () => {
    const content = randomBytes(40 * MIB);
    await host(0).hold(content);
    let cuts = 0;
    const fetched = await fetchTo(host(1), {
      from: [host(0)],
      digest: sha256(content),
      report: (done) => {
        if (done < (cuts + 1) * 10 * MIB || cuts === 3) return;
        cuts++;
        for (const stream of host(0).streams) stream.destroy();
      },
    });
    expect(fetched.interruptions).toBeGreaterThanOrEqual(3);
    expect(await arrived(host(1))).toBe(sha256(content));
    expect(fetched.receivedBytes).toBe(content.length);
  });

  it('after a crash keeps what is right of what was written', async () => {
    const content = randomBytes(20 * MIB);
    await host(0).hold(content);
    // 12 MiB were written; one block of them never reached the disk.
    const partial = Buffer.from(content.subarray(0, 12 * MIB));
    partial.fill(0, 3 * MIB, 3 * MIB + 65_536);
    await writeFile(join(host(1).store, 'coming'), partial);
    const fetched = await fetchTo(host(1), { from: [host(0)], digest: sha256(content) });
    expect(await arrived(host(1))).toBe(sha256(content));
    expect(fetched.receivedBytes).toBe(8 * MIB + 65_536);
    expect(fetched.reusedBytes).toBe(12 * MIB - 65_536);
  });

  it('with an older version there, only what is new, wherever it moved to', async () => {
    const old = randomBytes(32 * MIB);
    const fresh = randomBytes(MIB);
    // Blocks in another order, as a copy written out of order has them.
    const content = Buffer.concat([old.subarray(16 * MIB), fresh, old.subarray(0, 16 * MIB)]);
    await host(0).hold(content);
    const older = await host(1).hold(old, 'cd'.repeat(32));
    const fetched = await fetchTo(host(1), {
      from: [host(0)],
      digest: sha256(content),
      older: [older],
    });
    expect(await arrived(host(1))).toBe(sha256(content));
    expect(fetched.receivedBytes).toBe(MIB);
    expect(host(0).sentBytes).toBeLessThan(1.2 * MIB);
  });

  it('an older version that is damaged on disk is not believed', async () => {
    const old = randomBytes(4 * MIB);
    await host(0).hold(old);
    const older = await host(1).hold(old, 'cd'.repeat(32));
    const file = await open(older, 'r+');
    await file.write(randomBytes(10), 0, 10, MIB + 100);
    await file.close();
    const fetched = await fetchTo(host(1), {
      from: [host(0)],
      digest: sha256(old),
      older: [older],
    });
    expect(await arrived(host(1))).toBe(sha256(old));
    expect(fetched.receivedBytes).toBe(65_536);
  });
});

describe('a chain', () => {
  it('the middle passes on what it has while the rest comes; the source sends each byte once', async () => {
    const content = randomBytes(24 * MIB);
    await host(0).hold(content);
    let first: number | undefined;
    let middle = 0;
    const [one, two] = await Promise.all([
      fetchTo(host(1), {
        from: [host(0)],
        digest: sha256(content),
        bytesPerSecond: 24 * MIB,
        report: (done) => (middle = done),
      }),
      fetchTo(host(2), {
        from: [host(1), host(0)],
        digest: sha256(content),
        report: () => (first ??= middle),
      }),
    ]);
    expect(first).toBeLessThan(content.length / 2);
    expect(one.from).toEqual(['one']);
    expect(two.from).toEqual(['two']);
    expect(host(0).sentBytes).toBeLessThan(content.length * 1.001);
    expect(await arrived(host(2))).toBe(sha256(content));
  });

  it('the middle is done, and its follower still takes the rest from it', async () => {
    const content = randomBytes(16 * MIB);
    await host(0).hold(content);
    const end = fetchTo(host(2), {
      from: [host(1), host(0)],
      digest: sha256(content),
      bytesPerSecond: 8 * MIB,
    });
    const incoming = host(1).receiving.begin(BASE, FILE, join(host(1).store, 'coming'));
    // Slow enough for the follower to find it, faster than that one.
    await fetchTo(host(1), {
      from: [host(0)],
      digest: sha256(content),
      incoming,
      bytesPerSecond: 16 * MIB,
    });
    incoming.done();
    incoming.fail();
    expect((await end).from).toEqual(['two']);
    expect(host(0).sentBytes).toBeLessThan(content.length * 1.001);
  });

  it('when the middle gives up, its follower goes on from the source', async () => {
    const content = randomBytes(24 * MIB);
    await host(0).hold(content);
    const stop = new AbortController();
    const middle = fetchTo(host(1), {
      from: [host(0)],
      bytesPerSecond: 16 * MIB,
      signal: stop.signal,
      report: (done) => {
        if (done > 8 * MIB) stop.abort(new OffshootError('cancelled', { publicMessage: 'Cancelled.' }));
      },
    });
    const end = fetchTo(host(2), { from: [host(1), host(0)], digest: sha256(content) });
    await expect(middle).rejects.toThrow('Cancelled');
    host(1)
      .receiving.begin(BASE, FILE, join(host(1).store, 'coming'))
      .fail();
    expect((await end).from).toEqual(['two', 'one']);
    expect(await arrived(host(2))).toBe(sha256(content));
  });
});

describe('a damaged copy', () => {
  const damage = (content: Buffer): Buffer => {
    const damaged = Buffer.from(content);
    damaged.writeUInt8(damaged.readUInt8(5 * MIB) ^ 1, 5 * MIB);
    return damaged;
  };

  it('is found, and what it lacks is taken from another host', async () => {
    const content = randomBytes(12 * MIB);
    await host(0).hold(damage(content));
    await host(2).hold(content);
    const fetched = await fetchTo(host(1), {
      from: [host(0), host(2)],
      digest: sha256(content),
    });
    expect(await arrived(host(1))).toBe(sha256(content));
    expect(fetched.damaged).toEqual(['one']);
    expect(fetched.receivedBytes).toBe(content.length + 65_536);
  });

  it('that is the only one is refused by name', async () => {
    const content = randomBytes(2 * MIB + 5 * MIB);
    await host(0).hold(damage(content));
    const failed = fetchTo(host(1), { from: [host(0)], digest: sha256(content) });
    await expect(failed).rejects.toMatchObject({ code: 'source-unreadable', context: { damaged: ['one'] } });
    await expect(failed).rejects.toThrow('damaged on one');
  });
});

describe('by the list of its blocks', () => {
  const MISSED = 'are kept beside';

  it('whole, cut and gone on with, through a chain; the list is kept, and read nowhere again', async () => {
    const content = randomBytes(40 * MIB + 12_345);
    content.fill(0, 3 * MIB, 4 * MIB);
    await host(0).hold(content);
    let cuts = 0;
    const end = fetchTo(host(2), { from: [host(1), host(0)], ...sealed(content) });
    const middle = fetchTo(host(1), {
      from: [host(0)],
      ...sealed(content),
      bytesPerSecond: 40 * MIB,
      report: (done) => {
        if (done < (cuts + 1) * 10 * MIB || cuts === 2) return;
        cuts++;
        for (const stream of host(0).streams) stream.destroy();
      },
    });
    const [first, second] = await Promise.all([middle, end]);
    // A megabyte of zeroes is not sent.
    expect(first).toMatchObject({ receivedBytes: content.length - MIB, reusedBytes: MIB, from: ['one'] });
    expect(first.interruptions).toBeGreaterThanOrEqual(2);
    expect(second).toMatchObject({ receivedBytes: content.length - MIB, from: ['two'] });
    expect(host(0).sentBytes).toBeLessThan(content.length * 1.05);
    for (const each of [host(1), host(2)]) expect(await arrived(each)).toBe(sha256(content));
    expect(rootOf(first.list ?? { bytes: 0, hashes: Buffer.alloc(0) })).toBe(sealed(content).blocks);
    const log: string[] = [];
    await keepList(
      localShell(),
      join(host(1).store, 'coming'),
      first.list ?? { bytes: 0, hashes: Buffer.alloc(0) },
    );
    const kept = await listOf(join(host(1).store, 'coming'), localShell(), (line) => log.push(line));
    expect(rootOf(kept)).toBe(sealed(content).blocks);
    expect(log).toEqual([]);
  });

  it('only what is new travels, wherever the rest moved to; a list is made once, and said', async () => {
    const old = randomBytes(32 * MIB);
    const fresh = randomBytes(MIB);
    const content = Buffer.concat([old.subarray(16 * MIB), fresh, old.subarray(0, 16 * MIB)]);
    await host(0).hold(content);
    const older = await host(1).hold(old, 'cd'.repeat(32));
    const log: string[] = [];
    const wish = {
      from: [host(0)],
      ...sealed(content),
      older: [older],
      log: (line: string) => log.push(line),
    };
    const fetched = await fetchTo(host(1), wish);
    expect(await arrived(host(1))).toBe(sha256(content));
    expect(fetched).toMatchObject({ receivedBytes: MIB, reusedBytes: 32 * MIB, interruptions: 0 });
    expect(log).toEqual([expect.stringContaining(MISSED)]);
    await rm(join(host(1).store, 'coming'));
    log.length = 0;
    expect(await fetchTo(host(1), wish)).toMatchObject({ receivedBytes: MIB });
    expect(log).toEqual([]);
    // Damaged, and of a file that was written since: neither is believed.
    const list = await readFile(`${older}.blocks`);
    list.writeUInt8(list.readUInt8(1000) ^ 1, 1000);
    await writeFile(`${older}.new`, list);
    await rename(`${older}.new`, `${older}.blocks`);
    await listOf(older, localShell(), (line) => log.push(line));
    await writeFile(older, old.subarray(0, 20 * MIB));
    expect((await listOf(older, localShell(), (line) => log.push(line))).bytes).toBe(20 * MIB);
    expect(log).toEqual([expect.stringContaining('damaged'), expect.stringContaining('written or replaced')]);
  });

  /** Changes bytes of a file whose list is kept so that neither its size nor its times tell. */
  const rot = async (path: string, ...places: number[]): Promise<void> => {
    await utimes(path, 1e9, 1e9);
    await listOf(path, localShell(), () => undefined);
    const file = await open(path, 'r+');
    for (const at of places) {
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
      await file.write(Buffer.of((buffer[0] ?? 0) ^ 1), 0, 1, at);
    }
    await file.close();
    await utimes(path, 1e9, 1e9);
    await listOf(path, localShell(), (line) => expect.fail(line));
  };

  it('a block that rotted since its list was made costs itself, here and there', async () => {
    const content = randomBytes(12 * MIB);
    const source = await host(0).hold(content);
    await host(2).hold(content);
    const older = await host(1).hold(content, 'cd'.repeat(32));
    await rot(source, 5 * MIB);
    await rot(older, 5 * MIB, 7 * MIB);
    const fetched = await fetchTo(host(1), { from: [host(0), host(2)], ...sealed(content), older: [older] });
    expect(await arrived(host(1))).toBe(sha256(content));
    expect(fetched.reusedBytes).toBe(12 * MIB - 2 * 65_536);
    const alone = fetchTo(host(2), { from: [host(0)], ...sealed(content) });
    await expect(alone).rejects.toMatchObject({ code: 'source-unreadable', context: { damaged: ['one'] } });
  });

  it('a list that is not the one that names the base is not taken, and what came is refused', async () => {
    const content = randomBytes(2 * MIB);
    await host(0).hold(content);
    const other = randomBytes(2 * MIB);
    const failed = fetchTo(host(1), { from: [host(0)], ...sealed(other) });
    await expect(failed).rejects.toMatchObject({ code: 'source-unreadable' });
  });

  it('what was written before a crash is kept', async () => {
    const content = randomBytes(20 * MIB);
    await host(0).hold(content);
    const partial = Buffer.from(content.subarray(0, 12 * MIB));
    partial.fill(7, 3 * MIB, 3 * MIB + 65_536);
    await writeFile(join(host(1).store, 'coming'), partial);
    const fetched = await fetchTo(host(1), { from: [host(0)], ...sealed(content) });
    expect(await arrived(host(1))).toBe(sha256(content));
    expect(fetched).toMatchObject({ receivedBytes: 8 * MIB + 65_536, reusedBytes: 12 * MIB - 65_536 });
  });
});

describe('who may', () => {
  it('a host that is not of the fleet is let in nowhere', async () => {
    const content = randomBytes(MIB);
    await host(0).hold(content);
    host(1).key = await peerKey(join(scratch, 'stranger'));
    await expect(fetchTo(host(1), { from: [host(0)] })).rejects.toMatchObject({
      code: 'permission',
    });
  });

  it('a host that shows another key is told nothing', async () => {
    await host(0).hold(randomBytes(MIB));
    host(0).key = await peerKey(join(scratch, 'stranger'));
    await expect(fetchTo(host(1), { from: [host(0)] })).rejects.toMatchObject({
      code: 'host-key-mismatch',
    });
  });

  it('nothing but files of bases can be asked for', async () => {
    await host(0).hold(randomBytes(MIB));
    const stream = await dialPeer(
      { name: 'one', address: '127.0.0.1', port: host(0).server.port, publicKey: host(0).key.public },
      host(1).key,
      new AbortController().signal,
    );
    const body = Buffer.from(
      JSON.stringify({ base: BASE, file: '../../../../etc/passwd', from: 0, byHash: false }),
    );
    const header = Buffer.alloc(5);
    header.writeUInt8(1, 0);
    header.writeUInt32BE(body.length, 1);
    const said: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => said.push(chunk));
    stream.write(Buffer.concat([header, body]));
    await new Promise((resolve) => stream.once('end', resolve));
    expect(said).toEqual([]);
    expect((await stat(host(0).folder())).isDirectory()).toBe(true);
  });

  it('its key is readable by its owner alone, and stays the same', async () => {
    const path = join(host(0).store, 'peer_key');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await peerKey(path)).public).toBe(host(0).key.public);
  });
});

it('a base whose disk stands on a file of this host gets no name here, though its digest is right', async () => {
  const [from, into] = [join(scratch, 'arriving'), join(scratch, 'bases')];
  await mkdir(from);
  await mkdir(into);
  const disk = join(from, FILE);
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/passwd', disk, '8M');
  const digest = sha256(await readFile(disk));
  const shown = { target: 'vda', format: 'qcow2', digest };
  const step = {
    id: '1',
    kind: 'fetch-base',
    title: '',
    captureId: 'c',
    definition: '<domain/>',
    from,
    into,
    digest: baseDigest({ disks: [shown], nvram: undefined, memory: undefined, definition: '<domain/>' }),
    disks: [{ ...shown, file: FILE, virtualBytes: 8 * 1024 ** 2 }],
    sources: [],
    older: [],
    replace: false,
    bytes: 1,
  } as FetchBaseStep;
  const handler = fetchBaseStep(
    { shell: localShell() } as Parameters<typeof fetchBaseStep>[0],
    { receiving: host(0).receiving } as Peers,
  );
  const context = { signal: new AbortController().signal, result: () => undefined } as unknown as StepContext;
  const run = async (): Promise<void> => {
    for await (const _progress of handler.run(step, context));
  };
  await expect(run()).rejects.toThrow('stands on another file');
  expect(await readdir(into)).toEqual([]);
});

it('keeps to a rate', async () => {
  const content = randomBytes(4 * MIB);
  await host(0).hold(content);
  const begun = performance.now();
  await fetchTo(host(1), { from: [host(0)], bytesPerSecond: 4 * MIB });
  expect(performance.now() - begun).toBeGreaterThan(900);
});
