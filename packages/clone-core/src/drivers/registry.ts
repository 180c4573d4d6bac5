/** The one place that names drivers. */
import type { HypervisorKind } from '../contract.ts';
import type { Driver } from '../driver.ts';
import type { Shell } from '../shell/shell.ts';

export interface DriverConfig {
  kind: HypervisorKind;
  /** libvirt connection URI, e.g. `qemu:///system`. */
  uri?: string;
  /** Folder on the host where Offshoot keeps what it makes: `disks/`, `bases/`, `nvram/`. Absolute. */
  store: string;
  /** What `hostFacts` says of the accelerator; proven elsewhere by booting. */
  accelerator?: 'kvm' | 'tcg';
}

export type AnyDriver = Driver;

export type DriverFactory = (config: DriverConfig, shell: Shell) => AnyDriver;
