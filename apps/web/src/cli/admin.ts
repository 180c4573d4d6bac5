/**
 * `tsx apps/web/src/cli/admin.ts ensure-admin|login-link`: prints one line of JSON on standard output.
 * Needs DATABASE_URL, REDIS_URL and BETTER_AUTH_SECRET as the web has them; OFFSHOOT_ADMIN_PASSWORD is used at making only.
 */
import { OffshootError } from '@offshoot/clone-core/errors';
import { ensureAdmin, loginLink } from '../server/admin.ts';
import { closeServices } from '../server/services.ts';

async function run(command: string | undefined): Promise<object> {
  if (command === 'ensure-admin') return ensureAdmin(process.env['OFFSHOOT_ADMIN_PASSWORD'] || undefined);
  if (command === 'login-link') return loginLink();
  throw new OffshootError('invalid-input', {
    publicMessage: `There is no command "${command ?? ''}".`,
    remedy: 'Use ensure-admin or login-link.',
  });
}

try {
  process.stdout.write(`${JSON.stringify(await run(process.argv[2]))}\n`);
} catch (error) {
  const words =
    error instanceof OffshootError
      ? [error.publicMessage, error.remedy].filter(Boolean).join(' ')
      : String(error);
  process.stderr.write(`${words}\n`);
  process.exitCode = 1;
} finally {
  await closeServices();
}
