/** The workers of a simulated fleet, in a process of their own. Told what to be by its first message. */
import {
  openSimulatedFleet,
  type FleetOptions,
  type SimulatedFleet,
} from '@offshoot/worker/testing/simulated-fleet';

export type FleetOrder =
  | { open: FleetOptions }
  | { look: { times: number; atOnce: number } }
  | 'lanes'
  | 'memory'
  | 'stop';

let fleet: SimulatedFleet | undefined;

async function obey(order: FleetOrder): Promise<void> {
  if (order === 'lanes') await fleet?.openLanes();
  else if (order === 'stop') {
    await fleet?.close();
    process.send?.('stopped');
    process.disconnect();
    return;
  } else if (order === 'memory') {
    // The process is started with --expose-gc.
    globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    process.send?.({ rss, heapUsed });
    return;
  } else if ('look' in order) await fleet?.look(order.look.times, order.look.atOnce);
  else fleet = await openSimulatedFleet(order.open);
  process.send?.('done');
}

process.on('message', (order: FleetOrder) => {
  obey(order).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});

// Whoever measured is gone.
process.on('disconnect', () => process.exit());
