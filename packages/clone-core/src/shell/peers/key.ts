/**
 * A worker's key, by which other hosts know it: ed25519, and a certificate of it that it signed itself (RFC 5280, RFC 8410)
 * because TLS wants one. Nothing is believed of a certificate but its key.
 */
import { createPrivateKey, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  Certificate,
  Name,
  RelativeDistinguishedName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';
import ssh2 from 'ssh2';
import { OffshootError } from '../../errors.ts';

// Node finds not all of this CommonJS module's names.
const { utils } = ssh2;

const TYPE = 'ssh-ed25519';
const ED25519 = '1.3.101.112';
const COMMON_NAME = '2.5.4.3';
/** "No well-defined expiration date": RFC 5280, 4.1.2.5. */
const NO_END = new Date('9999-12-31T23:59:59Z');

export interface PeerKey {
  /** As in an authorized_keys file: "ssh-ed25519 AAAA…". */
  public: string;
  /** PEM. */
  private: string;
  /** PEM. */
  certificate: string;
}

/** The host's key, kept in that file; made when there is none. @throws OffshootError `permission` when it can't be read. */
export async function peerKey(path: string): Promise<PeerKey> {
  let text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) {
    text = newKey();
    await mkdir(dirname(path), { recursive: true, mode: 0o711 });
    const beside = `${path}.${randomBytes(4).toString('hex')}`;
    await writeFile(beside, text, { mode: 0o600, flush: true });
    await rename(beside, path);
  }
  await chmod(path, 0o600);
  try {
    return keyIn(text);
  } catch (cause) {
    throw new OffshootError('permission', {
      publicMessage: `The worker’s key ${path} can’t be read.`,
      remedy: 'Delete the file: the worker makes a new one when it starts.',
      cause,
    });
  }
}

/** OpenSSH's text for a private key. About one in 400 that ssh2 1.17 makes it can't read itself: that one is thrown away. */
function newKey(): string {
  for (;;) {
    const text = utils.generateKeyPairSync('ed25519').private;
    if (!(utils.parseKey(text) instanceof Error)) return text;
  }
}

/** Of OpenSSH's text for a private key. */
function keyIn(text: string): PeerKey {
  const parsed = utils.parseKey(text);
  if (parsed instanceof Error) throw parsed;
  const key = createPrivateKey(parsed.getPrivatePEM());
  const shown = publicText(createPublicKey(key));
  if (shown === undefined) throw new Error(`it is not of the type ${TYPE}`);
  return {
    public: shown,
    private: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: certificateOf(key),
  };
}

/** As in an authorized_keys file (RFC 8709, 4); undefined: a key of another type. */
export function publicText(key: KeyObject): string | undefined {
  const { x } = key.asymmetricKeyType === 'ed25519' ? key.export({ format: 'jwk' }) : {};
  if (x === undefined) return undefined;
  const parts = [Buffer.from(TYPE), Buffer.from(x, 'base64url')].flatMap((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    return [length, part];
  });
  return `${TYPE} ${Buffer.concat(parts).toString('base64')}`;
}

function certificateOf(key: KeyObject): string {
  const name = new Name([
    new RelativeDistinguishedName([
      new AttributeTypeAndValue({
        type: COMMON_NAME,
        value: new AttributeValue({ utf8String: 'Offshoot worker' }),
      }),
    ]),
  ]);
  const algorithm = new AlgorithmIdentifier({ algorithm: ED25519 });
  const shown = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: Uint8Array.of(1).buffer,
    signature: algorithm,
    issuer: name,
    validity: new Validity({ notBefore: new Date(0), notAfter: NO_END }),
    subject: name,
    subjectPublicKeyInfo: AsnConvert.parse(shown, SubjectPublicKeyInfo),
  });
  const signatureValue = sign(null, Buffer.from(AsnConvert.serialize(tbsCertificate)), key);
  const certificate = new Certificate({
    tbsCertificate,
    signatureAlgorithm: algorithm,
    signatureValue: new Uint8Array(signatureValue).buffer,
  });
  const text = Buffer.from(AsnConvert.serialize(certificate)).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${text.replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}
