import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateInstallationKey } from '@offshoot/clone-core/identity/certificate';

/** The installation's secret. It signs sessions. */
export const authSecret = (data: string): Promise<string> => secretIn(data, 'auth-secret', randomHex);

/** What secrets for guests are sealed with, by the web and for the worker. */
export const sealSecret = (data: string): Promise<string> => secretIn(data, 'seal-secret', randomHex);

/** The portal's own password in Redis, where that listens for other machines. */
export const redisSecret = (data: string): Promise<string> => secretIn(data, 'redis-secret', randomHex);

/** The private key that signs certificates, PEM. Another key, another installation: what the old one signed is a stranger's then. */
export const identityKey = (data: string): Promise<string> =>
  secretIn(data, 'identity-key.pem', () => generateInstallationKey().privateKey);

const randomHex = (): string => randomBytes(32).toString('hex');

/** A secret of the data folder, made at its first use, readable by its owner only. */
async function secretIn(data: string, file: string, make: () => string): Promise<string> {
  const path = join(data, file);
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  const secret = make().trim();
  await writeFile(path, `${secret}\n`, { mode: 0o600, flag: 'wx' });
  return secret;
}
