/** Guests that a chaos run clones from. None of them is the product's: nothing may happen to them. */
import { randomUUID } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError } from '@offshoot/clone-core/errors';
import { ensureSampleImage } from '../sample-guest/build.ts';
import { domains, virsh } from './host.ts';
import { MIB, overlay, sha256, toQcow2, writeRandom } from './images.ts';

/**
 * Raw images that hold what a guest must see, by its disks' targets: one of them, where another hand changed the source
 * meanwhile. Undefined: it changes by itself.
 */
export type Content = Record<string, string[]> | undefined;

export interface Source {
  name: string;
  uuid: string;
  running: boolean;
  /** It has an agent that freezes filesystems. */
  agent: boolean;
  content: Content;
  /** The run writes to its disks, as guests do. */
  moving: boolean;
  /** sha256 of each file that its disks are in, as it was made. A disk that its guest writes to is left out. */
  files: Record<string, string>;
  definition: string;
}

export interface Sources {
  /** There all the time. */
  standing: readonly Source[];
  /** An image file to import from, with its content. */
  image: { path: string; content: Content };
  /** A stopped source that a round may do anything to; taken once. Undefined when none is left. */
  takeSpare(): Source | undefined;
  /** Makes new spares for those that were taken. */
  replenish(): Promise<void>;
}

export interface SourcesOptions {
  uri: string;
  folder: string;
  prefix: string;
  seed: number;
  /** With the sample guest, built or found there. */
  sampleCache: string | undefined;
}

/** Where the sample guest's image is kept between runs. */
export const sampleCache = (scratch: string): string =>
  process.env['OFFSHOOT_CHAOS_CACHE'] ?? join(scratch, 'offshoot-chaos-cache');

const SPARES = 3;
const MEMORY_MIB = 32;

export async function makeSources(options: SourcesOptions): Promise<Sources> {
  const { uri, folder, prefix, seed } = options;
  await mkdir(folder, { mode: 0o711 });
  const at = (name: string): string => join(folder, name);
  const random = async (name: string, mib: number): Promise<string> => {
    await writeRandom(at(`${name}.raw`), mib * MIB, `${seed}/${name}`);
    return at(`${name}.raw`);
  };
  const define = async (wish: Omit<Wish, 'name'> & { name: string }): Promise<Source> =>
    defineSource(uri, folder, { ...wish, name: `${prefix}${wish.name}` });

  const plain = await random('plain', 6);
  await toQcow2(plain, at('plain.qcow2'));
  const second = await random('second', 3);
  await writeRandom(at('second-own.raw'), 3 * MIB, `${seed}/second`);
  const lower = await random('lower', 4);
  await toQcow2(lower, at('lower.qcow2'));
  await overlay(at('lower.qcow2'), at('upper.qcow2'));
  await toQcow2(lower, at('idle.qcow2'));
  await toQcow2(plain, at('two.qcow2'));
  await toQcow2(plain, at('image.qcow2'));
  const standing = [
    await define({ name: 'plain', disks: [{ path: at('plain.qcow2') }], content: { vda: [plain] } }),
    await define({
      name: 'two',
      disks: [{ path: at('two.qcow2') }, { path: at('second-own.raw'), format: 'raw' }],
      content: { vda: [plain], vdb: [second] },
    }),
    await define({
      name: 'chain',
      disks: [{ path: at('upper.qcow2'), below: [at('lower.qcow2')] }],
      content: { vda: [lower] },
    }),
    await define({
      name: 'idle',
      disks: [{ path: at('idle.qcow2') }],
      content: { vda: [lower] },
      running: true,
    }),
  ];
  for (const [name, running] of [
    ['drift', false],
    ['flow', true],
  ] as const) {
    await toQcow2(plain, at(`${name}.qcow2`));
    const disks = [{ path: at(`${name}.qcow2`), writes: true }];
    standing.push(await define({ name, disks, content: { vda: [plain] }, running }));
  }
  if (options.sampleCache !== undefined) {
    const image = await ensureSampleImage(options.sampleCache);
    await overlay(image, at('sample.qcow2'));
    standing.push(
      await define({
        name: 'sample',
        disks: [{ path: at('sample.qcow2'), writes: true, below: [image] }],
        content: undefined,
        running: true,
        agent: true,
        memoryMiB: 128,
      }),
    );
  }
  const spares: Source[] = [];
  let made = 0;
  const replenish = async (): Promise<void> => {
    while (spares.length < SPARES) {
      const name = `spare${++made}`;
      await toQcow2(plain, at(`${name}.qcow2`));
      spares.push(await define({ name, disks: [{ path: at(`${name}.qcow2`) }], content: { vda: [plain] } }));
    }
  };
  await replenish();
  return {
    standing,
    image: { path: at('image.qcow2'), content: { vda: [plain] } },
    takeSpare: () => spares.shift(),
    replenish,
  };
}

interface Wish {
  name: string;
  disks: {
    path: string;
    format?: 'qcow2' | 'raw';
    /** Files it stands on. */
    below?: string[];
    /** The guest writes to it by itself. */
    writes?: boolean;
  }[];
  content: Content;
  running?: boolean;
  agent?: boolean;
  memoryMiB?: number;
}

async function defineSource(uri: string, folder: string, wish: Wish): Promise<Source> {
  const { name, disks, content, running = false, agent = false, memoryMiB = MEMORY_MIB } = wish;
  const uuid = randomUUID();
  const scratch = join(folder, `${name}.xml`);
  await writeFile(
    scratch,
    `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid><memory unit='MiB'>${memoryMiB}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>
${disks.map(({ path, format = 'qcow2' }, index) => `<disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${path}'/><target dev='vd${'abc'[index] ?? 'z'}' bus='virtio'/></disk>`).join('')}
<interface type='user'><model type='virtio'/></interface>
${agent ? `<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>` : ''}</devices></domain>`,
  );
  await virsh(uri, 'define', scratch);
  if (running) await virsh(uri, 'start', uuid);
  if (agent) await untilAgent(uri, uuid);
  const files: Record<string, string> = {};
  for (const disk of disks)
    for (const path of [...(disk.writes === true ? [] : [disk.path]), ...(disk.below ?? [])])
      files[path] = await sha256(path);
  const known = (await domains(uri)).find((domain) => domain.uuid === uuid);
  const moving = content !== undefined && disks.some(({ writes }) => writes === true);
  return { name, uuid, running, agent, content, moving, files, definition: known?.xml ?? '' };
}

/** A boot takes seconds, on a machine that is busy with other things minutes. */
const AGENT_MS = 300_000;

async function untilAgent(uri: string, uuid: string): Promise<void> {
  const deadline = Date.now() + AGENT_MS;
  for (;;) {
    try {
      await virsh(uri, 'qemu-agent-command', uuid, '{"execute":"guest-ping"}', '--timeout', '2');
      return;
    } catch (cause) {
      if (Date.now() > deadline)
        throw new OffshootError('agent-silent', {
          publicMessage: `The sample guest’s agent did not answer within ${AGENT_MS / 1000} s.`,
          cause,
        });
      await sleep(200);
    }
  }
}

/** Takes the disk of a source away, as another hand would; `back` brings it back as it was. */
export async function moveAway(source: Source): Promise<{ back(): Promise<void> }> {
  const [path = ''] = Object.keys(source.files);
  await rename(path, `${path}.away`);
  return { back: () => rename(`${path}.away`, path) };
}
