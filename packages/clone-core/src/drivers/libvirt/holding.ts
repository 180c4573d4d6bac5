/** Holds guests back and lets them go, on the host: links, the drive with the first settings, and the note of it. */
import type { GuestRef } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { awaitingIn, held, METADATA_URI, released, seedTargetIn } from './hold.ts';
import type { Reader } from './inspect.ts';
import type { Awaiting } from './types.ts';
import type { Virsh } from './virsh.ts';

export type HoldParts = Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store'>;

/** Puts links of a running guest up or down, by MAC. */
export async function setLinks(
  virsh: Virsh,
  { uuid }: GuestRef,
  macs: readonly string[],
  state: 'up' | 'down',
  signal: AbortSignal,
): Promise<void> {
  for (const mac of macs)
    await virsh.run(['domif-setlink', '--domain', uuid, '--interface', mac, '--state', state], { signal });
}

/** The definition a guest starts from next time. Throws `not-found` when the host knows no such guest. */
export async function definitionOf(virsh: Virsh, guest: GuestRef, signal: AbortSignal): Promise<string> {
  const xml = await virsh.maybe(['dumpxml', '--inactive', '--security-info', '--domain', guest.uuid], {
    signal,
  });
  if (xml !== undefined) return xml;
  throw new OffshootError('not-found', {
    publicMessage: `The host knows no guest ${guest.name} any more.`,
    remedy: 'Reload the list of guests: it was removed by another hand.',
  });
}

/**
 * Takes the drive out, also of the running guest, deletes its file, and makes the definition as the source's, with its
 * links up. Nothing to do when another run did it.
 */
export async function release(parts: HoldParts, guest: GuestRef, signal: AbortSignal): Promise<void> {
  const { virsh, shell } = parts;
  const xml = await definitionOf(virsh, guest, signal);
  const awaiting = awaitingIn(xml);
  if (!awaiting) return;
  const target = seedTargetIn(xml);
  const running = (await virsh.state(guest.uuid, signal)) !== 'stopped';
  if (running && target !== undefined) await eject(virsh, guest, target, signal);
  if (awaiting.drive) await shell.remove(awaiting.drive.path);
  await redefine(parts, guest, released(xml), signal);
  if (running) await forgetLive(virsh, guest, signal);
}

/** Notes that the guest still waits, for other links or with its drive used. */
export async function holdOn(
  parts: HoldParts,
  guest: GuestRef,
  awaiting: Awaiting,
  signal: AbortSignal,
): Promise<void> {
  const xml = await definitionOf(parts.virsh, guest, signal);
  await redefine(parts, guest, held(released(xml), awaiting, awaiting.drive), signal);
}

async function redefine(
  { virsh, definitions, store }: HoldParts,
  guest: GuestRef,
  xml: string,
  signal: AbortSignal,
): Promise<void> {
  await virsh.define(xml, `${store}/.define-${guest.uuid}.xml`, signal);
  definitions.learned(guest, xml);
}

/** By force: a guest may hold the drive's door closed. */
async function eject(virsh: Virsh, guest: GuestRef, target: string, signal: AbortSignal): Promise<void> {
  try {
    await virsh.run(
      ['change-media', '--domain', guest.uuid, '--path', target, '--eject', '--live', '--force'],
      {
        signal,
      },
    );
  } catch (thrown) {
    // Already empty, or it was started before the drive was put in: the definition has the last word.
    if (!(thrown instanceof OffshootError) || thrown.code !== 'command-failed') throw thrown;
  }
}

async function forgetLive(virsh: Virsh, guest: GuestRef, signal: AbortSignal): Promise<void> {
  try {
    await virsh.run(['metadata', '--domain', guest.uuid, '--uri', METADATA_URI, '--live', '--remove'], {
      signal,
    });
  } catch (thrown) {
    // A running guest that was not started from this definition has no note.
    if (!(thrown instanceof OffshootError) || thrown.code !== 'command-failed') throw thrown;
  }
}
