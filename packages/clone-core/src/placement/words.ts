/** A placement in words. */
import type { Holding, HostState } from './types.ts';

/** "3.9 TiB", "41 GiB", "0.2 GiB"; never rounded up to what is not there. */
export function gib(bytes: number): string {
  const value = Math.max(0, bytes) / 2 ** 30;
  const large = value >= 1024;
  const shown = large ? value / 1024 : value;
  return `${shown >= 10 ? Math.floor(shown) : Math.floor(shown * 10) / 10} ${large ? 'TiB' : 'GiB'}`;
}

const holding: Readonly<Record<Holding, string>> = {
  base: 'already holds the base',
  coming: 'the base is on its way there',
  older: 'holds an older version, so only changes travel',
  none: 'the base goes there first',
};

const cores = ({ cores: all, busyVcpus, load1 }: HostState): string =>
  [
    busyVcpus <= all
      ? `${busyVcpus} of ${all} cores in use`
      : `guests with ${busyVcpus} processors on ${all} cores`,
    ...(load1 > all ? [`busy (load ${Math.round(load1)})`] : []),
  ].join(', ');

/** Why a host was chosen, with what it had before: "already holds the base; 41 GiB free; 3 of 8 cores in use". */
export const whyChosen = (host: HostState): string =>
  [
    holding[host.holds],
    `${gib(host.storeFreeBytes)} free`,
    `${gib(host.memoryFreeBytes)} of memory free`,
    cores(host),
  ].join('; ');
