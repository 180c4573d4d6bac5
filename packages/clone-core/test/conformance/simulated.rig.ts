/** The rig of the simulated driver: looks at the host's state directly. */
import { instantClock } from '../../src/drivers/simulated/clock.ts';
import { simulatedDriver } from '../../src/drivers/simulated/driver.ts';
import {
  digestOf,
  macFrom,
  sampleState,
  SimulatedHost,
  uuidFrom,
  type SimulatedGuest,
} from '../../src/drivers/simulated/host.ts';
import { definitionOf } from '../../src/drivers/simulated/plan-parts.ts';
import type { ConformanceRig } from './rig.ts';

const MIB = 1024 ** 2;

/** A simulated host whose time jumps. */
export async function makeSimulatedRig(): Promise<ConformanceRig> {
  const host = new SimulatedHost(sampleState({ store: '/simulated', guests: 1, seed: 7 }));
  const clock = instantClock();
  let wiggled = false;
  const guestNamed = async (name: string): Promise<SimulatedGuest | undefined> =>
    (await host.look()).guests.find((guest) => guest.name === name);
  return {
    hasAgent: true,
    driver: () => simulatedDriver({ host, clock, speed: { copyRate: 100 * MIB } }),
    async makeSource({ name, running }) {
      const disks = ['vda', 'vdb'].map((target) => ({ target, path: `/sources/${name}-${target}.qcow2` }));
      const uuid = uuidFrom(name);
      await host.change((state) => {
        for (const { path } of disks)
          state.files[path] = { content: digestOf(path), virtualBytes: 512 * MIB, allocatedBytes: 64 * MIB };
        state.guests.push({
          uuid,
          name,
          state: running ? 'running' : 'stopped',
          vcpus: 1,
          memoryBytes: 128 * MIB,
          osName: 'Linux',
          firmware: 'uefi',
          nics: ['a', 'b'].map((nic) => ({ mac: macFrom(`${name} ${nic}`), network: 'default' })),
          disks,
          hasAgent: true,
          ...(running ? { startedAt: clock.now() } : {}),
        });
      });
      return { uuid, name };
    },
    changeSource: (source, what) =>
      host.change((state) => {
        const guest = state.guests.find((each) => each.uuid === source.uuid);
        const file = state.files[guest?.disks[0]?.path ?? ''];
        if (guest && what === 'definition') guest.vcpus += 1;
        if (file && what === 'disk') file.content = digestOf(`${file.content} changed`);
      }),
    writeTo: (name) =>
      host.change((state) => {
        const path = state.guests.find((each) => each.name === name)?.disks.at(-1)?.path ?? '';
        const file = state.files[path];
        if (file) file.content = digestOf('written by the guest');
      }),
    wiggleFreeSpace: () =>
      host.change((state) => {
        state.totalBytes += wiggled ? 5 * MIB : -5 * MIB;
        wiggled = !wiggled;
      }),
    makeImage: async () => '/srv/images/simulated-linux.qcow2',
    async look() {
      const state = await host.look();
      return {
        guests: state.guests.map((guest) => guest.name).toSorted(),
        files: Object.keys(state.files).toSorted(),
        other: [],
      };
    },
    async definition(name) {
      const guest = await guestNamed(name);
      return (
        guest && {
          uuid: guest.uuid,
          macs: guest.nics.map((nic) => nic.mac),
          disks: guest.disks,
          rest: definitionOf(guest),
        }
      );
    },
    isRunning: async (name) => (await guestNamed(name))?.state === 'running',
    async content(name) {
      const { files } = await host.look();
      const guest = await guestNamed(name);
      return Object.fromEntries(
        (guest?.disks ?? []).map((disk) => [disk.target, files[disk.path]?.content ?? 'missing']),
      );
    },
    async fileContent(path) {
      const state = await host.look();
      return state.files[path]?.content ?? state.images[path]?.content ?? 'missing';
    },
    processes: () => Promise.resolve(0),
    async fillStore() {
      const total = (await host.look()).totalBytes;
      await host.change((state) => {
        state.totalBytes =
          Object.values(state.files).reduce((sum, file) => sum + file.allocatedBytes, 0) + MIB;
      });
      return () => host.change((state) => void (state.totalBytes = total));
    },
    async placeFile(path) {
      await host.change((state) => {
        state.files[path] = { content: digestOf('theirs'), virtualBytes: MIB, allocatedBytes: MIB };
      });
      return () => host.change((state) => void delete state.files[path]);
    },
    destroy: () => Promise.resolve(),
  };
}
