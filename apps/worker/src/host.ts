/** Puts together how this worker reaches and drives its host. */
import type { AnyDriver } from '@offshoot/clone-core/drivers';
import { makeDriver } from '@offshoot/clone-core/drivers';
import { open } from '@offshoot/clone-core/identity/secrets';
import type { Shell } from '@offshoot/clone-core/shell';
import { localShell } from '@offshoot/clone-core/shell/local';
import type { Db } from '@offshoot/db/client';
import type { WorkerConfig } from './config.ts';
import { overSsh } from './over-ssh.ts';
import type { HostPeers } from './peers.ts';
import { fenced } from './tenure.ts';

export interface ServedHost {
  peers: HostPeers | undefined;
  id: string;
  driver: AnyDriver;
  shell: Shell;
}

/** Opens the shell and the driver. Over SSH nothing is dialled before the first command. */
export async function openHost(config: WorkerConfig, db: Db): Promise<ServedHost> {
  const shell = fenced(
    config.OFFSHOOT_SSH === undefined
      ? localShell()
      : await overSsh({
          target: config.OFFSHOOT_SSH,
          hostKey: config.OFFSHOOT_SSH_HOST_KEY ?? '',
          keyFile: config.OFFSHOOT_SSH_KEY_FILE,
        }),
  );
  const peers =
    config.OFFSHOOT_PEER_ADDRESS === undefined || config.OFFSHOOT_HOST_KIND === 'simulated'
      ? undefined
      : // Loaded only where it is used: ssh2 costs start-up time.
        await (await import('./peers.ts')).hostPeers(config, db);
  const seal = config.OFFSHOOT_SEAL_SECRET;
  const driver = makeDriver(
    {
      kind: config.OFFSHOOT_HOST_KIND,
      uri: config.OFFSHOOT_LIBVIRT_URI,
      store: config.OFFSHOOT_STORE,
      accelerator: config.OFFSHOOT_ACCELERATOR,
      ...(peers === undefined ? {} : { peers }),
      chainBudget: config.OFFSHOOT_CHAIN_BUDGET,
      ...(config.OFFSHOOT_IMPORT_FOLDERS === undefined
        ? {}
        : { importFolders: config.OFFSHOOT_IMPORT_FOLDERS }),
      ...(seal === undefined ? {} : { openSecret: (sealed: string) => open(sealed, seal) }),
      ...(config.OFFSHOOT_SIMULATED === undefined ? {} : { simulated: config.OFFSHOOT_SIMULATED }),
    },
    shell,
  );
  return { id: config.OFFSHOOT_HOST_ID, driver, shell, peers };
}
