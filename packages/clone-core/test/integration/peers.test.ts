/** The connection between two workers: who is let in, what is told to whom is not, and how an end is noticed. Real TLS on loopback. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectPlain, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect, type ConnectionOptions } from 'node:tls';
import ssh2 from 'ssh2';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { dialPeer, type PeerTarget } from '../../src/shell/peers/dial.ts';
import { peerKey, type PeerKey } from '../../src/shell/peers/key.ts';
import { securedBy, type PeerService } from '../../src/shell/peers/secure.ts';
import { servePeers, type PeerServer } from '../../src/shell/peers/serve.ts';

let scratch: string;
let here: PeerKey;
let there: PeerKey;
let stranger: PeerKey;
let server: PeerServer;
/** Keys that may come, and whose they are. */
const known = new Map<string, string>();
const served: { who: string; service: PeerService; stream: Duplex }[] = [];
let errors: Error[] = [];

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'offshoot-peers-'));
  [here, there, stranger] = (await Promise.all(
    ['here', 'there', 'stranger'].map((name) => peerKey(join(scratch, name))),
  )) as [PeerKey, PeerKey, PeerKey];
});
afterAll(() => rm(scratch, { recursive: true }));

beforeEach(async () => {
  known.clear();
  known.set(here.public, 'here');
  served.length = 0;
  errors = [];
  server = await servePeers({
    address: '127.0.0.1',
    port: 0,
    key: there,
    whoIs: (key) => Promise.resolve(known.get(key)),
    serve: async (stream, who, service) => {
      served.push({ stream, who, service });
      stream.pipe(stream); // gives back what comes, and ends when that ends
      await closed(stream);
    },
    onError: (error) => errors.push(error),
  });
});
afterEach(() => server.close());

const target = (port = server.port): PeerTarget => ({
  name: 'there',
  address: '127.0.0.1',
  port,
  publicKey: there.public,
});
const signal = new AbortController().signal;
const dial = (key = here, at = target(), service?: PeerService): Promise<Duplex> =>
  dialPeer(at, key, signal, service);

const closed = (stream: Duplex): Promise<void> => new Promise((resolve) => stream.once('close', resolve));

async function allOf(stream: Duplex): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** As a client that is no worker of ours: what the server says to it until it ends. */
async function saidTo(options: ConnectionOptions): Promise<Buffer | Error> {
  const socket = connect({
    host: '127.0.0.1',
    port: server.port,
    ALPNProtocols: ['offshoot-bases'],
    ...options,
    rejectUnauthorized: false,
  });
  try {
    return await allOf(socket);
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

describe('between two workers', () => {
  it('each knows the other; bytes go both ways, and one end may end before the other', async () => {
    const stream = await dial(here, target(), 'offshoot-guests');
    expect(served).toMatchObject([{ who: 'here', service: 'offshoot-guests' }]);
    const sent = Buffer.alloc(8 * 1024 ** 2, 'offshoot');
    stream.end(sent);
    expect((await allOf(stream)).equals(sent)).toBe(true);
  });

  it('a key that an older worker made, and what the portal knows it by, stay good', async () => {
    const pair = ssh2.utils.generateKeyPairSync('ed25519');
    const path = join(scratch, 'older');
    await writeFile(path, pair.private);
    const older = await peerKey(path);
    expect(older.public).toBe(pair.public.trim());
    known.set(pair.public.trim(), 'older');
    (await dial(older)).destroy();
    expect(served).toMatchObject([{ who: 'older', service: 'offshoot-bases' }]);
  });

  it('a file that holds no such key is told by name', async () => {
    const path = join(scratch, 'bad');
    await writeFile(path, 'no key');
    await expect(peerKey(path)).rejects.toMatchObject({ code: 'permission' });
    await expect(peerKey(path)).rejects.toThrow(path);
  });
});

describe('who is not let in', () => {
  it('a key that nobody has, or nobody has any more', async () => {
    await expect(dial(stranger)).rejects.toMatchObject({ code: 'permission' });
    (await dial()).destroy();
    known.delete(here.public);
    await expect(dial()).rejects.toMatchObject({ code: 'permission', retryable: false });
    expect(served).toHaveLength(1);
  });

  it('one whose key is taken away in the middle gets no more within 5 seconds, and others go on', async () => {
    const cut = await dial();
    known.set(stranger.public, 'stays');
    const stays = await dial(stranger);
    const begun = performance.now();
    known.delete(here.public);
    await once(cut.resume(), 'end');
    expect(performance.now() - begun).toBeLessThan(5000);
    stays.write('still here');
    expect(String((await once(stays, 'data'))[0])).toBe('still here');
    stays.destroy();
  });

  it('no certificate: not one byte is served', async () => {
    expect(await saidTo({})).toEqual(Buffer.of(0));
    expect(served).toEqual([]);
  });

  it('an older TLS', async () => {
    expect(await saidTo({ ...securedBy(here), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })).toBeInstanceOf(
      Error,
    );
    expect(served).toEqual([]);
  });

  it('a service that there is none of', async () => {
    expect(await saidTo({ ...securedBy(here), ALPNProtocols: ['offshoot-shell'] })).toBeInstanceOf(Error);
    expect(await saidTo({ ...securedBy(here), ALPNProtocols: [] })).toEqual(Buffer.of(0));
    expect(served).toEqual([]);
  });

  it('what is no TLS: the connection is ended, and others are served on', async () => {
    const socket = connectPlain(server.port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\n\r\n'.repeat(100));
    await allOf(socket).catch(() => undefined); // an end or a reset: both are refusals
    expect(errors.length).toBeGreaterThan(0);
    (await dial()).destroy();
    expect(served).toHaveLength(1);
  });

  it('another key than the one that was registered is told nothing', async () => {
    await expect(dial(here, { ...target(), publicKey: stranger.public })).rejects.toMatchObject({
      code: 'host-key-mismatch',
      context: { seen: there.public, pinned: stranger.public },
    });
  });
});

describe('what does not answer as it should', () => {
  let other: Server;
  const sockets = new Set<Socket>();
  const listening = async (greet: (socket: Socket) => void): Promise<PeerTarget> => {
    other = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined); // the other end goes away in its own time
      greet(socket);
    });
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    return target((other.address() as AddressInfo).port);
  };
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    other.close();
  });

  it('a worker from before that speaks SSH: told as that, and tried again', async () => {
    const at = await listening((socket) => socket.write('SSH-2.0-ssh2js1.17.0srv\r\n'));
    await expect(dial(here, at)).rejects.toMatchObject({
      code: 'host-unreachable',
      retryable: true,
      message: expect.stringContaining('of different versions'),
    });
  });

  it('nobody, and one who never answers', async () => {
    const at = await listening(() => undefined);
    await expect(dial(here, at)).rejects.toMatchObject({ code: 'host-unreachable', retryable: true });
    other.close();
    for (const socket of sockets) socket.destroy();
    await expect(dial(here, at)).rejects.toThrow('can’t be reached');
  });

  it('a host that is gone without a word is noticed within seconds; one that is only silent stays connected', async () => {
    // A cable: when it is cut nothing comes through any more, also of new connections, and nothing is told.
    let cut = false;
    const at = await listening((near) => {
      const far = connectPlain(server.port, '127.0.0.1');
      sockets.add(far);
      far.on('error', () => undefined); // as above
      near.on('data', (chunk) => cut || far.write(chunk));
      far.on('data', (chunk) => cut || near.write(chunk));
    });
    const stream = await dial(here, at);
    const silent = await dial();
    stream.write('still here');
    await once(stream, 'data');
    cut = true;
    const begun = performance.now();
    await closed(stream);
    expect(performance.now() - begun).toBeLessThan(9000);
    expect(silent.destroyed).toBe(false);
    silent.destroy();
  });
});

it('an abort ends it, before and after it is connected', async () => {
  const stop = new AbortController();
  const stream = await dialPeer(target(), here, stop.signal);
  stop.abort(new Error('enough'));
  await closed(stream);
  await expect(dialPeer(target(), here, stop.signal)).rejects.toThrow('enough');
});

it('closing ends what is being served and what is only connected', async () => {
  const stream = await dial();
  const socket = connectPlain(server.port, '127.0.0.1');
  await once(socket, 'connect');
  const ends = [once(stream.resume(), 'end'), once(socket.resume(), 'close')];
  await server.close();
  await Promise.all(ends);
});
