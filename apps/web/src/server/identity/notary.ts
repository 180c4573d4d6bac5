/** Signs what operations certified: workers write certificates, the web alone holds the key. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StreamEvent } from '@offshoot/clone-core/contract';
import { signCertificate } from '@offshoot/clone-core/identity/certificate';
import type { Db } from '@offshoot/db/client';
import { keepSignatures, unsignedCertificates } from '@offshoot/db/identity';
import { log } from '../log.ts';
import { db, hub } from '../services.ts';
import { signingKey, type SigningKey } from './key.ts';

/** Pause after a failure (PostgreSQL restarts) before it begins again, milliseconds. */
const AGAIN_MS = 2000;

/**
 * Signs all that is there, then whatever comes, until the signal aborts. Without a key it says so in the log and resolves:
 * certificates then stay unsigned. Several webs may do it at once: each certificate is signed by one of them.
 */
export async function runNotary(signal: AbortSignal): Promise<void> {
  const key = signingKey();
  if (!key) {
    log.warn('OFFSHOOT_IDENTITY_KEY is not set: certificates of clones stay unsigned');
    return;
  }
  while (!signal.aborted) {
    try {
      // Subscribed first, so that nothing falls between the look and the wait.
      const events = (await hub()).subscribe({}, signal);
      await signPending(db(), key);
      for await (const batch of events.batches()) if (batch.some(certifies)) await signPending(db(), key);
    } catch (error) {
      log.warn({ err: error }, 'signing certificates failed; beginning again');
      await sleep(AGAIN_MS, undefined, { ref: false });
    }
  }
}

const certifies = ({ data }: StreamEvent): boolean =>
  data.type === 'state' && data.state === 'finished' && data.result?.identity !== undefined;

/** Signs every certificate that has no signature. Resolves with how many it signed. */
export async function signPending(database: Db, key: SigningKey): Promise<number> {
  let signed = 0;
  for (;;) {
    const pending = await unsignedCertificates(database);
    if (pending.length === 0) return signed;
    signed += await keepSignatures(
      database,
      pending.map(({ body }) => {
        const { signature, publicKey, ...rest } = signCertificate(
          { ...body, installation: key.fingerprint },
          key.privateKey,
        );
        return { body: rest.body, signature, publicKey };
      }),
    );
  }
}
