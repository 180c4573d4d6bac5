/** Where libvirt's system instance keeps what a moving guest needs. */
import type { Channel } from './protocol.ts';

/** State of emulated TPMs, by UUID. */
export const TPM_STATE = '/var/lib/libvirt/swtpm';
/** QEMU's own folder: it can make sockets there, and nobody else but root can enter it. */
const QEMU_FOLDER = '/var/lib/libvirt/qemu';
/** libvirtd's socket, or that of the daemon for QEMU alone. */
const LIBVIRT_SOCKETS = ['/var/run/libvirt/libvirt-sock', '/var/run/libvirt/virtqemud-sock'];

/** The same path on both hosts: libvirt tells QEMU on either side to use it. */
export const relayOf = (channel: Channel, operation: string): string =>
  `${QEMU_FOLDER}/offshoot-${operation.slice(-12)}-${channel}.sock`;

/** Of the host that receives, in order of preference. */
export const socketOf = (channel: Channel, operation: string): string[] =>
  channel === 'libvirt' ? LIBVIRT_SOCKETS : [relayOf(channel, operation)];
