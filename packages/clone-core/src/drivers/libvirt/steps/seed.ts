/** Steps that write a clone's first settings, and take them away. The only place where a sealed secret is opened. */
import { randomBytes } from 'node:crypto';
import { cdImage, type CdFile } from '../../../disks/iso9660.ts';
import type { StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import { seedFiles } from '../../../identity/seed.ts';
import { UNATTEND_FILE, unattendXml } from '../../../identity/unattend.ts';
import type { Shell } from '../../../shell/shell.ts';
import { release, type HoldParts } from '../holding.ts';
import type { DropSeedStep, WriteSeedStep } from '../types.ts';

/** Random bytes that a new guest begins with. */
const SEED_BYTES = 512;

type OpenSecret = (sealed: string) => string;

export function writeSeedStep(shell: Shell, openSecret: OpenSecret | undefined): StepHandler<WriteSeedStep> {
  return {
    async *run(step) {
      yield { note: 'writing' };
      // Root's alone: libvirt gives it to QEMU's user while the guest runs.
      await shell.writeFile(step.to, cdImage('cidata', filesOf(step, openSecret), new Date()), 0o600);
    },
    async undo(step) {
      return (await shell.remove(step.to)) ? 'deleted its first settings' : undefined;
    },
  };
}

function filesOf({ way, seed }: WriteSeedStep, openSecret: OpenSecret | undefined): CdFile[] {
  const open = (sealed: string | undefined): string | undefined => {
    if (sealed === undefined) return undefined;
    if (openSecret) return openSecret(sealed);
    throw new OffshootError('internal', {
      publicMessage:
        'This worker was not given the installation’s secret, so it can’t open the stored password.',
      remedy: 'Ask your administrator to give the worker the same secret as the web.',
    });
  };
  const { windows } = seed.options;
  const administratorPassword = open(windows?.administratorPassword);
  const secrets = administratorPassword === undefined ? {} : { administratorPassword };
  if (way === 'seed') return seedFiles({ ...seed, ...secrets, randomSeed: randomBytes(SEED_BYTES) });
  const joinPassword = open(windows?.join?.password);
  const content = unattendXml(seed, {
    ...secrets,
    ...(joinPassword === undefined ? {} : { joinPassword }),
  });
  return [{ name: UNATTEND_FILE, content }];
}

export function dropSeedStep(parts: HoldParts): StepHandler<DropSeedStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'taking it out' };
      await release(parts, step.guest, signal);
    },
    // Its guest has read it long ago.
    undo: () => Promise.resolve(undefined),
  };
}
