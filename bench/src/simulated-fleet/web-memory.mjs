/**
 * Loaded into the processes of the bench's portal by NODE_OPTIONS. The web answers on a socket of its own with its memory after
 * a collection, as JSON, or writes a heap snapshot for whoever looks for a leak; the others ignore it.
 */
import { createServer } from 'node:net';
import { setFlagsFromString, writeHeapSnapshot } from 'node:v8';
import { runInNewContext } from 'node:vm';

const socket = process.env['OFFSHOOT_BENCH_MEMORY'];
const [, program = '', command] = process.argv;

if (socket !== undefined && program.endsWith('next/dist/bin/next') && command === 'start') {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  createServer((asker) => {
    asker.once('data', (order) => {
      collect();
      if (order.toString() !== 'memory') writeHeapSnapshot(order.toString());
      asker.end(JSON.stringify(process.memoryUsage()));
    });
    // Whoever asked is gone.
    asker.on('error', () => asker.destroy());
  })
    .listen(socket)
    .unref();
}
