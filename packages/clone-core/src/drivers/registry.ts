/** The one place that names drivers. */
import type { HypervisorKind } from '../contract.ts';
import type { Peers } from '../disks/transfer/peers.ts';
import type { Driver } from '../driver.ts';
import { OffshootError } from '../errors.ts';
import type { Shell } from '../shell/shell.ts';
import { libvirtDriver } from './libvirt/driver.ts';
import { CHAIN_BUDGET } from './libvirt/generations.ts';
import { configuredSimulation, type SimulatedConfig } from './simulated/config.ts';

export interface DriverConfig {
  kind: HypervisorKind;
  /** libvirt connection URI, e.g. `qemu:///system`. */
  uri?: string;
  /** Folder on the host where Offshoot keeps what it makes: `disks/`, `bases/`, `nvram/`. Absolute. */
  store: string;
  /** What `hostFacts` says of the accelerator; proven elsewhere by booting. */
  accelerator?: 'kvm' | 'tcg';
  /** Folders of the host that images may be imported from; unset: any. */
  importFolders?: readonly string[];
  /** How bases come from other hosts; unset: they don't. */
  peers?: Peers;
  /** The most files that a read of a disk should go through; a refresh that passes it has the clone made whole. */
  chainBudget?: number;
  /** Opens a sealed secret (identity/secrets.ts), when it is written for a guest. Unset: nothing sealed can be used. */
  openSecret?: (sealed: string) => string;
  /** For `simulated` hosts. */
  simulated?: SimulatedConfig;
}

export { CHAIN_BUDGET };

export type AnyDriver = Driver;

export type DriverFactory = (config: DriverConfig, shell: Shell) => AnyDriver;

export type { SimulatedConfig };

/** The driver of a configured host. `shell` reaches the host; a simulated one only keeps its state file through it. */
export const makeDriver: DriverFactory = (config, shell) => {
  switch (config.kind) {
    case 'simulated':
      return configuredSimulation(config.store, config.simulated ?? {}, shell);
    case 'libvirt':
      return libvirtDriver(config, shell);
    default:
      throw new OffshootError('not-found', {
        publicMessage: `There is no driver for hosts of the kind ${String(config.kind)}.`,
        remedy: 'Correct the kind in the worker’s configuration.',
      });
  }
};
