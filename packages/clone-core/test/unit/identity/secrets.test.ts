import { describe, expect, it } from 'vitest';
import { sealedSchema, type CertificateBody } from '../../../src/identity/contract.ts';
import {
  generateInstallationKey,
  publicKeyOf,
  signCertificate,
  signedText,
  verifyCertificate,
} from '../../../src/identity/certificate.ts';
import { isSealed, open, seal } from '../../../src/identity/secrets.ts';
import { decided, refusal } from './facts.ts';

const SECRET = 'an installation secret of many characters';

describe('sealing', () => {
  it('opens what it sealed, and shows nothing of it', () => {
    const text = 'pässwörd'.repeat(100);
    const sealed = seal(text, SECRET);
    expect(sealedSchema.parse(sealed)).toBe(sealed);
    expect(isSealed(sealed)).toBe(true);
    expect(sealed).not.toContain(Buffer.from(text).toString('base64url').slice(0, 20));
    expect(seal(text, SECRET)).not.toBe(sealed);
    expect(open(sealed, SECRET)).toBe(text);
    expect(open(seal('', SECRET), SECRET)).toBe('');
    expect(sealedSchema.safeParse(seal('x'.repeat(2048), SECRET)).success).toBe(true);
  });

  it('opens nothing that was changed, or sealed elsewhere', () => {
    const sealed = seal('secretword', SECRET);
    const broken = [
      sealed.slice(0, -2) + (sealed.endsWith('AA') ? 'BB' : 'AA'),
      sealed.slice(0, 30),
      'sealed:v1:',
      'secretword',
    ];
    for (const each of broken) {
      const error = refusal(() => open(each, SECRET));
      expect(error.code).toBe('internal');
      expect(JSON.stringify([error.message, error.context])).not.toContain('secretword');
    }
    expect(refusal(() => open(sealed, `${SECRET}.`)).remedy).toBe('Enter the password again.');
  });

  it('refuses secrets that are too long, and keys that are too short', () => {
    expect(refusal(() => seal('x'.repeat(2049), SECRET)).code).toBe('invalid-input');
    expect(refusal(() => seal('x', 'short')).code).toBe('internal');
  });
});

const body: CertificateBody = {
  version: 1,
  id: '5b1f0a52-0000-4000-8000-000000000001',
  issuedAt: '2026-07-01T12:00:00.000Z',
  installation: 'lab',
  guest: { id: 'g', name: 'web-07', uuid: 'u', hostId: 'h' },
  source: { type: 'template', label: 'sample v1', baseDigest: 'd'.repeat(64) },
  mode: 'linked',
  operationId: 'o',
  identity: {
    way: 'seed',
    policy: 'strict',
    decided,
    changed: ['hostname'],
    kept: [],
    verdict: 'attested',
    problems: [],
  },
};

describe('certificates', () => {
  const key = generateInstallationKey();
  const certificate = signCertificate(body, key.privateKey);

  it('verify, also after a way through JSON with other order of keys', () => {
    const shuffled = JSON.parse(
      JSON.stringify({ ...certificate, body: Object.fromEntries(Object.entries(body).reverse()) }),
    ) as typeof certificate;
    expect(verifyCertificate(shuffled, key.publicKey)).toEqual({ valid: true });
    expect(verifyCertificate(shuffled)).toEqual({ valid: true });
    expect(publicKeyOf(key.privateKey)).toBe(key.publicKey);
  });

  it('sign canonical JSON (RFC 8785)', () => {
    // Section 3.2.2 and 3.2.3 of the RFC: numbers, control characters, order by UTF-16 code units.
    const made = signedText({
      numbers: [1e30, 4.5, 2e-3],
      string: '€$\u000f\nA\'B"\\"/',
      literals: [null, true],
    } as never);
    expect(made).toBe(
      '{"literals":[null,true],"numbers":[1e+30,4.5,0.002],"string":"€$\\u000f\\nA\'B\\"\\\\\\"/"}',
    );
    expect(
      signedText({
        '\u20ac': 1,
        '\r': 2,
        '\ufb33': 3,
        '1': 4,
        '\u{1f600}': 5,
        '\u0080': 6,
        '\u00f6': 7,
      } as never),
    ).toBe('{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}');
  });

  it.each<[string, (good: typeof certificate) => typeof certificate, string]>([
    ['changed', (good) => ({ ...good, body: { ...good.body, mode: 'full' } }), 'changed after'],
    [
      'signed by another',
      () => signCertificate(body, generateInstallationKey().privateKey),
      'another installation',
    ],
    [
      'with another’s name',
      (good) => ({ ...good, publicKey: generateInstallationKey().publicKey }),
      'another installation',
    ],
    ['without key', (good) => ({ ...good, publicKey: 'none' }), 'can’t be read'],
    ['with no signature', (good) => ({ ...good, signature: '' }), 'changed after'],
    ['of another kind', (good) => ({ ...good, algorithm: 'none' as never }), 'not known'],
  ])('do not verify when %s', (_what, change, why) => {
    const verdict = verifyCertificate(change(certificate), key.publicKey);
    expect(verdict.valid ? '' : verdict.why).toContain(why);
  });

  it('refuse a key that is none, without quoting it', () => {
    const error = refusal(() =>
      signCertificate(body, '-----BEGIN PRIVATE KEY-----\nsecretword\n-----END PRIVATE KEY-----'),
    );
    expect(error.code).toBe('internal');
    expect(String(error.cause)).not.toContain('secretword');
  });
});
