/** A worker that opens a disk and then does nothing: to be killed. Arguments: image, folder, filesystem. */
import { openVolume } from '../../src/disks/inside/open.ts';
import { withDisks } from '../../src/disks/inside/session.ts';
import { localShell } from '../../src/shell/local.ts';

const [path = '', folder = '', type = ''] = process.argv.slice(2);
const disk = { target: 'vda', path, format: 'raw' };
await withDisks(
  localShell(),
  { disks: [disk], scratch: `${folder}/.inside-hang`, shared: true },
  new AbortController().signal,
  async (session) => {
    await openVolume(session, { target: 'vda', offset: 0, size: 0, type });
    process.stdout.write('open\n');
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  },
);
