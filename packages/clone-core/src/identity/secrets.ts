/**
 * Secrets at rest: sealed with a key of the installation, so that rows, plans and events hold no secret. AES-256-GCM
 * (NIST SP 800-38D) with a random 96-bit nonce; the key is derived by HKDF-SHA-256 (RFC 5869) from the installation's secret.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { OffshootError } from '../errors.ts';

const PREFIX = 'sealed:v1:';
const NONCE = 12;
const TAG = 16;
/** So that what is sealed fits the contract's 4096 characters. */
const MAX_BYTES = 2048;
/** Shortest secret that is taken for one: 128 bits. */
const MIN_SECRET_BYTES = 16;

function keyOf(installationSecret: string): Buffer {
  if (Buffer.byteLength(installationSecret) < MIN_SECRET_BYTES)
    throw new OffshootError('internal', {
      publicMessage: 'This installation’s secret is missing or too short to seal anything with.',
      remedy: 'Ask your administrator to set a secret of at least 32 random characters.',
    });
  return Buffer.from(hkdfSync('sha256', installationSecret, '', 'offshoot sealed v1', 32));
}

/**
 * Seals a text. The same text sealed twice looks different. Throws `invalid-input` for more than 2048 bytes, `internal` without a
 * usable installation secret.
 */
export function seal(text: string, installationSecret: string): string {
  if (Buffer.byteLength(text) > MAX_BYTES)
    throw new OffshootError('invalid-input', {
      publicMessage: `A secret has at most ${MAX_BYTES} bytes.`,
      remedy: 'Use a shorter one.',
    });
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv('aes-256-gcm', keyOf(installationSecret), nonce, { authTagLength: TAG });
  cipher.setAAD(Buffer.from(PREFIX));
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return PREFIX + Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
}

export const isSealed = (text: string): boolean => text.startsWith(PREFIX);

/**
 * Opens what `seal` made. Throws `internal` when it was changed, or sealed with another installation's secret; neither text nor
 * secret is in the error.
 */
export function open(sealed: string, installationSecret: string): string {
  const bytes = Buffer.from(isSealed(sealed) ? sealed.slice(PREFIX.length) : '', 'base64url');
  const key = keyOf(installationSecret);
  try {
    if (bytes.byteLength < NONCE + TAG) throw new Error('too short to be sealed');
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE), { authTagLength: TAG });
    decipher.setAAD(Buffer.from(PREFIX));
    decipher.setAuthTag(bytes.subarray(NONCE, NONCE + TAG));
    return decipher.update(bytes.subarray(NONCE + TAG), undefined, 'utf8') + decipher.final('utf8');
  } catch (cause) {
    throw new OffshootError('internal', {
      publicMessage:
        'A stored password can’t be opened: the installation’s secret is not the one it was sealed with.',
      remedy: 'Enter the password again.',
      cause,
    });
  }
}
