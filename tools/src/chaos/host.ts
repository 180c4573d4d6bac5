/** The host as virsh tells of it, past the driver. */
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';

export interface Domain {
  name: string;
  uuid: string;
  /** As `virsh domstate` says: "running", "shut off", … */
  state: string;
  /** Inactive definition. */
  xml: string;
  macs: string[];
  disks: { target: string; path: string; format: string }[];
  /** Files that its disks are in now; of a stopped guest those of its definition. */
  live: string[];
  snapshots: string[];
  checkpoints: string[];
  /** A job is under way: "None" when not. */
  job: string;
}

const MARK = '@@';
const PARTS = ['domstate', 'dumpxml', 'live', 'snapshots', 'checkpoints', 'job'] as const;

/** Runs one virsh command. Rejects when it fails. */
export async function virsh(uri: string, ...words: string[]): Promise<string> {
  return (await execa('virsh', ['-q', '-c', uri, ...words], { stdin: 'ignore', timeout: 30_000 })).stdout;
}

const PATIENCE_MS = 30_000;

/** As `virsh`, again and again while libvirt is being restarted. Rejects when it fails otherwise. */
export async function patientVirsh(uri: string, ...words: string[]): Promise<string> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await virsh(uri, ...words);
    } catch (error) {
      const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
      if (Date.now() > deadline || !/connect|End of file|socket/i.test(said)) throw error;
      await sleep(100);
    }
  }
}

/** All guests of the host, with what hangs on them, read in one process. Waits for libvirt while it is being restarted. */
export async function domains(uri: string): Promise<Domain[]> {
  const listed = await patientVirsh(uri, 'list', '--all', '--uuid', '--name');
  const guests = listed.split('\n').flatMap((line) => {
    const [uuid, name] = line.trim().split(/\s+/);
    return uuid && name ? [{ uuid, name }] : [];
  });
  if (guests.length === 0) return [];
  const commands = guests.flatMap(({ uuid }) =>
    [
      ['domstate', `domstate ${uuid}`],
      ['dumpxml', `dumpxml --inactive ${uuid}`],
      ['live', `dumpxml ${uuid}`],
      ['snapshots', `snapshot-list --name ${uuid}`],
      ['checkpoints', `checkpoint-list --name ${uuid}`],
      ['job', `domjobinfo ${uuid}`],
    ].flatMap(([part = '', command = '']) => [`echo ${MARK}${part}`, command]),
  );
  const { stdout } = await execa('virsh', ['-q', '-c', uri], {
    input: `${commands.join('\n')}\n`,
    reject: false,
    timeout: 30_000,
  });
  // Commands that are read from a pipe are shown, each after a prompt.
  const parts = stdout
    .replaceAll(/virsh # .*\n?/g, '')
    .split(MARK)
    .slice(1);
  return guests.flatMap((guest, index) => {
    const [state = '', xml = '', live = '', snapshots = '', checkpoints = '', job = ''] = PARTS.map(
      (part, at) => (parts[index * PARTS.length + at] ?? '').slice(part.length).trim(),
    );
    if (xml === '') return []; // gone meanwhile
    const lines = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '');
    return [
      {
        ...guest,
        state,
        xml,
        macs: [...xml.matchAll(/<mac address='([^']+)'/g)].map((found) => found[1] ?? ''),
        disks: disksOf(xml),
        live: disksOf(live).map(({ path }) => path),
        snapshots: lines(snapshots),
        checkpoints: lines(checkpoints),
        job: /Job type:\s+(\S+)/.exec(job)?.[1] ?? 'None',
      },
    ];
  });
}

function disksOf(xml: string): Domain['disks'] {
  return [...xml.matchAll(/<disk type='file' device='disk'>[\s\S]*?<\/disk>/g)].map(([disk]) => ({
    target: /<target dev='([^']+)'/.exec(disk)?.[1] ?? '',
    path: /<source file='([^']+)'/.exec(disk)?.[1] ?? '',
    format: /<driver name='qemu' type='([^']+)'/.exec(disk)?.[1] ?? '',
  }));
}

/** Whether the agent says that its filesystems are frozen; undefined when it does not answer. */
export async function isFrozen(uri: string, uuid: string): Promise<boolean | undefined> {
  const done = await execa(
    'virsh',
    ['-q', '-c', uri, 'qemu-agent-command', uuid, '{"execute":"guest-fsfreeze-status"}', '--timeout', '3'],
    { reject: false, stdin: 'ignore' },
  );
  return done.exitCode === 0 ? !done.stdout.includes('thawed') : undefined;
}

/** What the guest calls itself, as its agent says; undefined when that does not answer. */
export async function hostNameOf(uri: string, uuid: string): Promise<string | undefined> {
  const done = await execa(
    'virsh',
    ['-q', '-c', uri, 'qemu-agent-command', uuid, '{"execute":"guest-get-host-name"}', '--timeout', '3'],
    { reject: false, stdin: 'ignore' },
  );
  return done.exitCode === 0 ? /"host-name":"([^"]*)"/.exec(done.stdout)?.[1] : undefined;
}
