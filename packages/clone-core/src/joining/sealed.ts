/**
 * The answer to a joining is sealed to the machine that asked: X25519 (RFC 7748) between a key of each side that is made
 * for this, HKDF-SHA-256 with the token, AES-256-GCM. Whoever listens, or holds the token alone, can't read it.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { OffshootError } from '../errors.ts';

export interface SealedAnswer {
  /** SPKI in base64. */
  publicKey: string;
  /** Ciphertext and its tag, base64. */
  sealed: string;
}

export interface JoinKey {
  publicKey: string;
  privateKey: KeyObject;
}

export function makeJoinKey(): JoinKey {
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  return { publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'), privateKey };
}

/** Throws `invalid-input` when the key is none. */
export function sealAnswer(text: string, theirKey: string, token: string): SealedAnswer {
  const ours = makeJoinKey();
  const { key, nonce } = secretsOf(ours.privateKey, theirKey, token);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return { publicKey: ours.publicKey, sealed: sealed.toString('base64') };
}

/** Throws `not-allowed` when it was sealed to another, for another token, or changed on the way. */
export function openAnswer(answer: SealedAnswer, ours: JoinKey, token: string): string {
  const bytes = Buffer.from(answer.sealed, 'base64');
  try {
    const { key, nonce } = secretsOf(ours.privateKey, answer.publicKey, token);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce);
    decipher.setAuthTag(bytes.subarray(-16));
    return decipher.update(bytes.subarray(0, -16), undefined, 'utf8') + decipher.final('utf8');
  } catch (cause) {
    throw new OffshootError('not-allowed', {
      publicMessage: 'The portal’s answer was changed on its way here, so nothing was stored.',
      remedy: 'See who is between this machine and the portal, then join with a new token.',
      cause,
    });
  }
}

/** Key and nonce are of one use: each side's key is made for one answer. */
function secretsOf(privateKey: KeyObject, theirKey: string, token: string): { key: Buffer; nonce: Buffer } {
  let shared: Buffer;
  try {
    const publicKey = createPublicKey({ key: Buffer.from(theirKey, 'base64'), format: 'der', type: 'spki' });
    shared = diffieHellman({ privateKey, publicKey });
  } catch (cause) {
    throw new OffshootError('invalid-input', {
      publicMessage: 'The key that the answer should be sealed to is none.',
      field: 'publicKey',
      cause,
    });
  }
  const derived = Buffer.from(hkdfSync('sha256', shared, token, 'offshoot join v1', 44));
  return { key: derived.subarray(0, 32), nonce: derived.subarray(32) };
}

/** sha256 of an authority's certificate (PEM), base64url; of no authority, of the empty text. */
export function authorityFingerprint(pem: string | undefined): string {
  const der = pem === undefined ? Buffer.alloc(0) : new X509Certificate(pem).raw;
  return createHash('sha256').update(der).digest('base64url');
}
