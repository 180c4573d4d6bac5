import { editInside } from '@offshoot/clone-core/inside/edit';
import { lookInside } from '@offshoot/clone-core/inside/look';
import { localShell } from '@offshoot/clone-core/shell/local';
import { execa } from 'execa';
import { rm } from 'node:fs/promises';
import { median, quantile, round, type Bench } from '../result.ts';
import { scratchDisk } from '../source.ts';
import { sampleImage } from './memory-clone.ts';

const COUNT = 20;
/** What a user would otherwise run; where it is not installed the row has no peer. */
const PEER = 'virt-customize';

/** The identity step of a linked clone whose guest has no cloud-init. */
export const identityOffline: Bench = {
  id: 'identity-offline',
  title: 'host name, machine id, host keys and hosts file of a linked clone, in its disk',
  async run(lab) {
    const image = await sampleImage(lab);
    const shell = localShell();
    const { signal } = new AbortController();
    const looks: number[] = [];
    const edits: number[] = [];
    const peers: number[] = [];
    const hasPeer = (await execa(PEER, ['--version'], { reject: false })).exitCode === 0;
    for (let run = 0; run < COUNT; run++) {
      const path = scratchDisk(lab.scratch, `identity-${run}`);
      const fresh = async (): Promise<void> => {
        await rm(path, { force: true });
        await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', path]);
      };
      await fresh();
      const disk = { target: 'vda', path, format: 'qcow2' };
      let from = performance.now();
      const { root } = await lookInside(shell, [disk], { store: lab.scratch, signal });
      looks.push(performance.now() - from);
      if (root === undefined) throw new Error('the sample guest was not recognised');
      from = performance.now();
      await editInside(
        shell,
        disk,
        root,
        [
          { type: 'write', path: '/etc/hostname', content: `clone-${run}\n`, mode: 0o644 },
          { type: 'write', path: '/etc/machine-id', content: `${'ab'.repeat(16)}\n`, mode: 0o444 },
          { type: 'remove', pattern: '/var/lib/dbus/machine-id' },
          { type: 'remove', pattern: '/etc/dropbear/*_host_key' },
          { type: 'remove', pattern: '/etc/ssh/ssh_host_*_key*' },
          { type: 'remove', pattern: '/var/lib/dhcp/*.leases' },
          { type: 'empty', pattern: '/var/lib/systemd/random-seed' },
          {
            type: 'line',
            path: '/etc/hosts',
            match: '^127\\.0\\.1\\.1\\s',
            line: `127.0.1.1 clone-${run}`,
            add: false,
          },
          { type: 'write', path: '/usr/local/lib/offshoot/first-boot', content: '#!/bin/sh\n', mode: 0o755 },
        ],
        { signal },
      );
      edits.push(performance.now() - from);
      // The appliance takes tens of seconds: a few runs say enough.
      if (hasPeer && run < Math.min(3, lab.runs)) {
        await fresh();
        from = performance.now();
        await execa(
          PEER,
          [
            '-q',
            '-a',
            path,
            '--no-network',
            '--hostname',
            `clone-${run}`,
            '--delete',
            '/etc/dropbear/*',
            '--write',
            `/etc/machine-id:${'ab'.repeat(16)}`,
          ],
          {
            env: { LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' },
          },
        );
        peers.push(performance.now() - from);
      }
      await rm(path);
    }
    const ours = round(median(edits), 1);
    const theirs = peers.length > 0 ? round(median(peers), 1) : undefined;
    return {
      id: 'identity-offline',
      unit: 'ms',
      ours,
      peers: theirs === undefined ? {} : { [PEER]: theirs },
      ratio: theirs === undefined ? null : round(ours / theirs, 4),
      of: theirs === undefined ? null : PEER,
      runs: COUNT,
      notes: `p50 of the edit; p95 ${round(quantile(edits, 0.95), 1)} ms; looking into the disk ${round(median(looks), 1)} ms${hasPeer ? '' : `; ${PEER} is not installed here`}`,
      look: round(median(looks), 1),
    };
  },
};
