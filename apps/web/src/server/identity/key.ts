/** The key that this installation signs certificates with. */
import { createHash, createPublicKey } from 'node:crypto';
import { publicKeyOf } from '@offshoot/clone-core/identity/certificate';
import { env } from '../env.ts';

export interface SigningKey {
  /** PKCS #8, PEM. A secret: it goes nowhere but to the signing. */
  privateKey: string;
  /** SPKI, PEM. */
  publicKey: string;
  /** SHA256:… of the public key. */
  fingerprint: string;
}

/** The installation's key; undefined when it was given none. Throws `internal` for one that can't be read. */
export function signingKey(): SigningKey | undefined {
  const { identityKey } = env();
  if (identityKey === undefined) return undefined;
  const publicKey = publicKeyOf(identityKey);
  return { privateKey: identityKey, publicKey, fingerprint: fingerprintOf(publicKey) };
}

/** SHA256:… over the DER of a public key, base64 without padding, as `ssh-keygen` writes its own. Throws for what is no key. */
export function fingerprintOf(publicKey: string): string {
  const der = createPublicKey(publicKey).export({ type: 'spki', format: 'der' });
  return `SHA256:${createHash('sha256').update(der).digest('base64').replaceAll('=', '')}`;
}
