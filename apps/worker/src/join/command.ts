/** The words of the worker's command line. */
import { parseArgs } from 'node:util';
import { OffshootError } from '@offshoot/clone-core/errors';
import { joinPortal } from './join.ts';
import { environmentOf, JOINED_FOLDER, readJoined } from './joined.ts';

const USAGE = `offshoot-worker join PORTAL TOKEN [--run]   joins this machine to a portal; with --run it then serves it
offshoot-worker run                         serves the portal that this machine joined
offshoot-worker                             serves what the environment says (DATABASE_URL, REDIS_URL, OFFSHOOT_…)

  --folder DIR         where the credential is kept (${JOINED_FOLDER})
  --store DIR          where disks are kept (/var/lib/offshoot/store)
  --uri URI            libvirt's connection (qemu:///system)
  --address ADDRESS    at which other hosts reach this one (the one it reached the portal from)
  --accelerator KIND   kvm or tcg (found out by booting a guest)
  --ssh [USER@]HOST[:PORT]   serve another machine from here; with --host-key SHA256:… as checked on its console,
                       and --ssh-key FILE (the agent's key). Without --host-key it is shown and nothing else is done
  --name NAME          insist on a name: the token must be for it
  --again              forget that this machine joined before`;

/**
 * What the worker's configuration is read from; undefined: the command has done all that was asked. @throws OffshootError
 * `invalid-input`, and as joining does.
 */
export async function environmentFor(
  argv: readonly string[],
  version: string,
  say: (line: string) => void,
): Promise<NodeJS.ProcessEnv | undefined> {
  if (argv.length === 0) return process.env;
  const { positionals, values } = parsed(argv);
  const folder = values.folder ?? JOINED_FOLDER;
  const [command, portal, token, ...more] = positionals;
  if (command === 'run' && portal === undefined) {
    const joined = await readJoined(folder);
    if (joined) return { ...environmentOf(joined, folder), ...process.env };
    throw new OffshootError('not-found', {
      publicMessage: `This machine has not joined a portal: there is nothing in ${folder}.`,
      remedy: 'Paste the line of “Add host” from the portal’s Hosts page.',
    });
  }
  if (command !== 'join' || portal === undefined || token === undefined || more.length > 0) throw unknown();
  if (values.accelerator !== undefined && values.accelerator !== 'kvm' && values.accelerator !== 'tcg')
    throw unknown();
  const joined = await joinPortal(
    {
      portal,
      token,
      folder,
      version,
      store: values.store ?? '/var/lib/offshoot/store',
      uri: values.uri ?? 'qemu:///system',
      name: values.name,
      address: values.address,
      accelerator: values.accelerator,
      ssh: values.ssh,
      sshKey: values['ssh-key'],
      hostKey: values['host-key'],
      again: values.again ?? false,
    },
    say,
  );
  if (values.run) return { ...environmentOf(joined, folder), ...process.env };
  say('Start its worker with: run');
  return undefined;
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        folder: { type: 'string' },
        store: { type: 'string' },
        uri: { type: 'string' },
        address: { type: 'string' },
        accelerator: { type: 'string' },
        name: { type: 'string' },
        ssh: { type: 'string' },
        'ssh-key': { type: 'string' },
        'host-key': { type: 'string' },
        again: { type: 'boolean' },
        run: { type: 'boolean' },
      },
    });
  } catch (cause) {
    throw unknown(cause);
  }
}

const unknown = (cause?: unknown): OffshootError =>
  new OffshootError('invalid-input', { publicMessage: USAGE, cause });
