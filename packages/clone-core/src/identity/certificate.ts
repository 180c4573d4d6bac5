/**
 * A clone's certificate: Ed25519 (RFC 8032) over canonical JSON (RFC 8785) of its body, so that anyone can check it with the
 * installation's public key and no program of ours.
 */
import canonicalize from 'canonicalize';
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { OffshootError } from '../errors.ts';
import type { Certificate, CertificateBody } from './contract.ts';

export interface InstallationKey {
  /** PKCS #8, PEM. A secret. */
  privateKey: string;
  /** SPKI, PEM. */
  publicKey: string;
}

export function generateInstallationKey(): InstallationKey {
  return generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
}

/** The public key of a private one, SPKI, PEM. Throws `internal` for what is no Ed25519 key. */
export function publicKeyOf(privateKey: string): string {
  return createPublicKey(privateKeyFrom(privateKey)).export({ type: 'spki', format: 'pem' }).toString();
}

function privateKeyFrom(pem: string): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = createPrivateKey(pem);
  } catch {
    // Said below. Node's error is left out: it may quote what it was given.
  }
  if (key?.asymmetricKeyType !== 'ed25519')
    throw new OffshootError('internal', {
      publicMessage: 'The key that this installation signs certificates with can’t be read.',
      remedy: 'Ask your administrator to restore it from a backup, or to have a new one made.',
    });
  return key;
}

/** What is signed: the canonical JSON of the body. Throws for numbers that JSON can't hold. */
export const signedText = (body: CertificateBody): string => canonicalize(body) ?? '';

/** Signs a body. Throws `internal` for what is no Ed25519 key. */
export function signCertificate(body: CertificateBody, privateKey: string): Certificate {
  const key = privateKeyFrom(privateKey);
  return {
    body,
    signature: sign(null, Buffer.from(signedText(body)), key).toString('base64'),
    algorithm: 'ed25519',
    publicKey: publicKeyOf(privateKey),
  };
}

/**
 * Whether a certificate is what an installation signed. `trusted`: that installation's public key; without it only that the body
 * was not changed since whoever holds the named key signed it. Throws nothing: what is no certificate is not valid.
 */
export function verifyCertificate(
  certificate: Certificate,
  trusted?: string,
): { valid: true } | { valid: false; why: string } {
  if (certificate.algorithm !== 'ed25519')
    return { valid: false, why: 'it is signed in a way not known here' };
  const named = publicKeyFrom(certificate.publicKey);
  const key = trusted === undefined ? named : publicKeyFrom(trusted);
  if (!named || !key) return { valid: false, why: 'its public key can’t be read' };
  if (!key.equals(named)) return { valid: false, why: 'another installation signed it' };
  const signature = Buffer.from(certificate.signature, 'base64');
  return verify(null, Buffer.from(signedText(certificate.body)), key, signature)
    ? { valid: true }
    : { valid: false, why: 'it was changed after it was signed' };
}

function publicKeyFrom(pem: string): KeyObject | undefined {
  try {
    const key = createPublicKey(pem);
    return key.asymmetricKeyType === 'ed25519' ? key : undefined;
  } catch {
    return undefined;
  }
}
