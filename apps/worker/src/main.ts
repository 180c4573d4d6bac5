/**
 * `node dist/main.js`: a worker for one host. Configured by the environment (config.ts), or by having joined a portal
 * (join/command.ts); logs JSON lines to stdout.
 */
import { toOffshootError } from '@offshoot/clone-core/errors';
import { pino } from 'pino';
import { readConfig, type WorkerConfig } from './config.ts';
import { environmentFor } from './join/command.ts';
import { version } from './version.ts';
import { runWorker } from './worker.ts';

/** EX_CONFIG of sysexits.h: the portal refuses this worker, so starting it again changes nothing. Its unit does not. */
const EXIT_REFUSED = 78;

async function configured(): Promise<WorkerConfig | undefined> {
  try {
    const environment = await environmentFor(process.argv.slice(2), version, (line) => console.error(line));
    return environment && readConfig(environment);
  } catch (thrown) {
    const { publicMessage, remedy, code, context } = toOffshootError(thrown);
    console.error([publicMessage, remedy].filter(Boolean).join('\n'));
    if (code === 'internal') console.error(context);
    process.exitCode = 2;
    return undefined;
  }
}

const config = await configured();
if (config) {
  const log = pino({ level: config.OFFSHOOT_LOG_LEVEL, base: { host: config.OFFSHOOT_HOST_ID } });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(1);
      log.info(`${name}: giving work back`);
      stop.abort();
    });
  }
  process.on('unhandledRejection', (reason) => {
    log.fatal({ err: reason }, 'unhandled rejection');
    process.exit(1);
  });
  try {
    await runWorker(config, version, stop.signal, log, () => {
      log.info('worker ready');
      process.send?.({ ready: true });
    });
  } catch (error) {
    const shown = toOffshootError(error);
    log.fatal({ err: shown, context: shown.context }, shown.publicMessage);
    process.exitCode = shown.code === 'not-allowed' ? EXIT_REFUSED : 1;
  }
}
// A queue that could not say goodbye to its Redis would try for ever.
process.exit();
