/** What is inside a source: looked at once where it can't change, and asked of its agent while it runs. */
import { createHash } from 'node:crypto';
import { readInside } from '../../disks/inside/edit.ts';
import { lookInside } from '../../disks/inside/look.ts';
import type { InsideDisk } from '../../disks/inside/types.ts';
import type { CapturedBase, GuestRef } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { GuestInside } from '../../identity/contract.ts';
import type { SourceIdentity } from '../../identity/judge.ts';
import type { Shell } from '../../shell/shell.ts';
import { askIdentity } from './guest-identity.ts';
import { memoByKey } from './memo.ts';
import type { DiskFacts, InsideFacts } from './types.ts';
import type { Virsh } from './virsh.ts';

/** A look is kept this long after it was last asked for, milliseconds: it is keyed by what can't change. */
const KEPT_MS = 6 * 3_600_000;
/** A look at a running guest serves the preview and the clones that follow, milliseconds. */
const RUNNING_MS = 120_000;
/** What makes a guest itself, as far as it may be read: no private key. */
const PUBLIC_IDENTITY = ['/etc/hostname', '/etc/machine-id', '/etc/ssh/ssh_host_*_key.pub'];

const nobodyLooked: GuestInside = {
  kind: 'unknown',
  why: 'its disks were not looked into',
  agent: false,
  found: [],
  agents: [],
};

export interface Insides {
  /** `here: false`: its files are on another host; what was found when it was taken counts. */
  ofBase(base: CapturedBase, where: { here: boolean }): Promise<InsideFacts>;
  /** Of a guest that stands still. */
  ofStopped(disks: readonly DiskFacts[]): Promise<InsideFacts>;
  /** Of files by target, which stand still now and may change later: looked at each time. Not what they share with others. */
  ofFiles(files: readonly (readonly [string, { path: string; format: string }])[]): Promise<InsideFacts>;
  /** Of a guest that writes meanwhile: what it has installed hardly changes. */
  ofRunning(
    guest: GuestRef,
    disks: readonly DiskFacts[],
    agentAnswers: boolean,
    signal: AbortSignal,
  ): Promise<InsideFacts>;
}

export function insides(shell: Shell, virsh: Virsh, store: string): Insides {
  // Shared reads belong to nobody's operation; each program in them has its own deadline.
  const { signal } = new AbortController();
  const kept = memoByKey<InsideFacts>(KEPT_MS);
  const looks = memoByKey<GuestInside>(RUNNING_MS);
  const look = async (disks: readonly InsideDisk[], known: GuestInside | undefined): Promise<InsideFacts> => {
    const inside = known ?? (await lookInside(shell, disks, { store, signal }));
    return { inside, source: await publicIdentity(shell, disks, inside, store, signal) };
  };
  return {
    ofBase: (base, { here }) =>
      here
        ? kept(`base ${base.digest}`, () => look(base.disks, base.inside))
        : Promise.resolve({ inside: base.inside ?? nobodyLooked, source: {} }),
    ofStopped: (disks) => {
      const files = disks.flatMap((disk) =>
        disk.chain.map((file) => [file.path, file.size, file.modifiedMs]),
      );
      return kept(JSON.stringify(files), () => look(disks, undefined));
    },
    async ofFiles(files) {
      const disks = files.map(([target, { path, format }]) => ({ target, path, format }));
      return { inside: await lookInside(shell, disks, { store, signal }), source: {} };
    },
    async ofRunning(guest, disks, agentAnswers, asker) {
      const [inside, attested] = await Promise.all([
        looks(`guest ${guest.uuid}`, () => lookInside(shell, disks, { store, signal })),
        agentAnswers ? askIdentity(virsh, guest.uuid, asker) : undefined,
      ]);
      return { inside, source: attested ?? {} };
    },
  };
}

async function publicIdentity(
  shell: Shell,
  disks: readonly InsideDisk[],
  inside: GuestInside,
  store: string,
  signal: AbortSignal,
): Promise<SourceIdentity> {
  const { root } = inside;
  const disk = disks.find((each) => each.target === root?.target);
  if (!root || !disk || inside.kind !== 'linux') return {};
  try {
    const files = await readInside(shell, disk, root, PUBLIC_IDENTITY, { store, signal });
    const text = (end: string): string =>
      Buffer.from(files.find(({ path }) => path.endsWith(end))?.content ?? '', 'base64')
        .toString()
        .trim();
    const [hostname, machineId] = [text('/etc/hostname'), text('/etc/machine-id')];
    return {
      ...(hostname === '' ? {} : { hostname }),
      ...(/^[0-9a-f]{32}$/.test(machineId) ? { machineId } : {}),
      sshHostKeys: files.filter(({ path }) => path.endsWith('.pub')).flatMap(({ content }) => keyOf(content)),
    };
  } catch (thrown) {
    // What can't be read can't be compared with; the rest of the identity is still attested.
    if (thrown instanceof OffshootError && thrown.code === 'unsupported-disk') return {};
    throw thrown;
  }
}

/** Type and fingerprint of a public key file, as `ssh-keygen -l` prints them. */
function keyOf(content: string): { type: string; fingerprint: string }[] {
  const [kind = '', blob = ''] = Buffer.from(content, 'base64').toString().trim().split(/\s+/);
  if (blob === '') return [];
  const hash = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '');
  const type = kind
    .replace(/^ssh-/, '')
    .replace(/-sha2-.*$/, '')
    .toUpperCase();
  return [{ type, fingerprint: `SHA256:${hash}` }];
}
