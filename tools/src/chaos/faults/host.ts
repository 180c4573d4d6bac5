/** A host whose store fills, and whose sources are touched by other hands. */
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { askClones } from '../actions.ts';
import { newName } from '../origins.ts';
import type { Asked } from '../asking.ts';
import { patientVirsh } from '../host.ts';
import { MIB, sha256, writeRandom } from '../images.ts';
import { moveAway, type Source } from '../sources.ts';
import { patiently, type World } from '../world.ts';
import type { Random } from '../random.ts';
import { atMoment, type Fault } from './fault.ts';

const full: Fault = {
  kind: 'store-full',
  weight: 3,
  excuses: ['no-space', 'command-failed'],
  inflict: atMoment(async (world, random) => {
    const spare = random.weighted([
      { weight: 2, value: 0 },
      { weight: 1, value: random.between(4096, 300_000) },
      { weight: 1, value: random.between(300_000, 4 * MIB) },
    ]);
    const ms = random.between(150, 900);
    await world.store.fill(spare);
    await sleep(ms);
    await world.store.free();
    return `${Math.ceil(spare / 1024)} KiB left for ${ms} ms`;
  }),
};

/** A fault about a source of its own: it is cloned, and at the moment another hand does something to it. */
function spareFault(
  part: Pick<Fault, 'kind' | 'weight' | 'excuses'>,
  meddle: (world: World, source: Source, random: Random) => Promise<string>,
): Fault {
  const current = new WeakMap<World, Source>();
  return {
    ...part,
    async begin(world, random): Promise<Asked[]> {
      const source = world.sources.takeSpare();
      if (!source) return [];
      current.set(world, source);
      world.extras.push(source);
      const mode = random.pick(['full', 'full', 'linked'] as const);
      const row = await patiently(() =>
        world.db.prisma.guest.findFirst({ where: { uuid: source.uuid }, select: { id: true } }),
      );
      if (!row) return []; // made a moment ago: the inventory does not know it yet
      const origin = {
        name: source.name,
        source: { type: 'guest' as const, id: row.id },
        content: () => source.content,
        inert: true,
      };
      return [await askClones(world, origin, { mode, names: [newName(world)] })];
    },
    inflict: atMoment(async (world, random) => {
      const source = current.get(world);
      current.delete(world);
      return source ? meddle(world, source, random) : undefined;
    }),
  };
}

const removed = spareFault(
  {
    kind: 'source-undefined',
    weight: 1,
    excuses: ['source-missing', 'source-unreadable', 'not-found'],
  },
  async (world, source) => {
    await patientVirsh(world.services.libvirtUri, 'undefine', source.uuid);
    return 'undefined; its files stay';
  },
);

const away = spareFault(
  {
    kind: 'source-moved',
    weight: 1.5,
    excuses: ['source-missing', 'source-changed', 'source-unreadable', 'broken-chain', 'command-failed'],
  },
  async (_world, source, random) => {
    const ms = random.between(10, 500);
    const moved = await moveAway(source);
    await sleep(ms);
    await moved.back();
    return `its disk was away for ${ms} ms`;
  },
);

const started = spareFault(
  { kind: 'source-started', weight: 1, excuses: ['source-changed', 'busy', 'command-failed'] },
  async (world, source, random) => {
    const ms = random.between(100, 600);
    try {
      await patientVirsh(world.services.libvirtUri, 'start', source.uuid);
    } catch {
      return 'could not be started: its disk was being read';
    }
    await sleep(ms);
    await patientVirsh(world.services.libvirtUri, 'destroy', source.uuid);
    return `ran for ${ms} ms`;
  },
);

/** Written to while it is copied: a clone is as before or as after, never in between. */
const written: Fault = spareFault(
  { kind: 'source-written', weight: 1, excuses: ['source-changed', 'busy', 'command-failed'] },
  async (world, source) => {
    const [path = ''] = Object.keys(source.files);
    const [before = ''] = source.content?.['vda'] ?? [];
    const after = `${path}.after.raw`;
    await writeRandom(`${path}.patch`, 1 * MIB, path);
    await execa('cp', ['--', before, after]);
    await execa('dd', [`if=${path}.patch`, `of=${after}`, 'bs=1M', 'seek=3', 'conv=notrunc', 'status=none']);
    // QEMU's own lock lets nobody write to what is being read: until it is let go.
    for (let attempt = 1; attempt <= 300; attempt++) {
      const done = await execa('qemu-io', ['-f', 'qcow2', '-c', `write -q -s ${path}.patch 3M 1M`, path], {
        reject: false,
      });
      if (done.exitCode === 0) break;
      await sleep(10);
    }
    source.content?.['vda']?.push(after);
    source.files[path] = await sha256(path);
    return 'a mebibyte was written to its disk';
  },
);

export const hostFaults: readonly Fault[] = [full, removed, away, started, written];
