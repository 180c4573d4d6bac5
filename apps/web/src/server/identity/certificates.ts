/** Certificates as a browser sees them, and whether a text is one. */
import { verifyCertificate } from '@offshoot/clone-core/identity/certificate';
import type { Certificate, CertificateBody } from '@offshoot/clone-core/contract/identity';
import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';
import { db } from '../services.ts';
import { fingerprintOf, signingKey } from './key.ts';

export interface CertificateView {
  id: string;
  guestName: string;
  mode: string;
  issuedAt: string;
  verdict: CertificateBody['identity']['verdict'];
  /** Null: nobody signed it yet. */
  signedBy: string | null;
}

/** A guest's certificates, newest first. */
export async function certificatesOf(guestId: string): Promise<CertificateView[]> {
  const rows = await db().prisma.certificate.findMany({
    where: { guestId },
    orderBy: { id: 'desc' },
    take: 50,
  });
  return rows.map((row) => {
    const body = row.body as unknown as CertificateBody;
    return {
      id: row.id,
      guestName: body.guest.name,
      mode: body.mode,
      issuedAt: body.issuedAt,
      verdict: body.identity.verdict,
      signedBy: row.publicKey === null ? null : fingerprintOf(row.publicKey),
    };
  });
}

/** A signed certificate, to download. Throws `not-found`, and `busy` (retryable) when it is not signed yet. */
export async function certificateById(id: string): Promise<Certificate> {
  const row = await db().prisma.certificate.findUnique({ where: { id } });
  if (!row)
    throw new OffshootError('not-found', {
      publicMessage: 'There is no such certificate.',
      remedy: 'Reload the page.',
    });
  if (row.signature === null || row.publicKey === null)
    throw new OffshootError('busy', {
      publicMessage: 'That certificate is not signed yet.',
      remedy:
        signingKey() === undefined
          ? 'This installation has no key to sign with: ask your administrator to set OFFSHOOT_IDENTITY_KEY.'
          : 'Try again in a moment.',
      retryable: true,
    });
  return {
    body: row.body as unknown as CertificateBody,
    signature: row.signature,
    algorithm: 'ed25519',
    publicKey: row.publicKey,
  };
}

/** What is read of a pasted certificate; its body stays as it is, for what was signed is all of it. */
const pasted = z.object({
  body: z.looseObject({
    version: z.literal(1),
    id: z.string(),
    issuedAt: z.string(),
    installation: z.string(),
    guest: z.looseObject({ id: z.string(), name: z.string(), uuid: z.string(), hostId: z.string() }),
    source: z.looseObject({ type: z.string(), label: z.string() }),
    mode: z.string(),
    identity: z.looseObject({
      way: z.string(),
      policy: z.string(),
      verdict: z.string(),
      decided: z.looseObject({ hostname: z.string(), machineId: z.string() }),
      changed: z.array(z.string()),
      problems: z.array(z.string()),
    }),
  }),
  signature: z.string(),
  algorithm: z.string(),
  publicKey: z.string(),
});

export type Verified =
  | {
      valid: true;
      /** `here`: this installation's key. `another`: a key that only the certificate itself names. */
      by: 'here' | 'another';
      fingerprint: string;
      body: CertificateBody;
      /** The guest it is about, where this portal still has it. */
      guestId: string | null;
    }
  | { valid: false; why: string };

/** Judges a text that someone says is a certificate. Throws nothing for what is none: `why` ends a sentence. */
export async function judgeCertificate(text: string): Promise<Verified> {
  const certificate = read(text);
  if (typeof certificate === 'string') return { valid: false, why: certificate };
  const own = signingKey()?.publicKey;
  let verdict: ReturnType<typeof verifyCertificate>;
  try {
    verdict = verifyCertificate(certificate);
  } catch (error) {
    // Numbers that JSON can't hold, nesting without end: nobody signs that.
    return { valid: false, why: error instanceof RangeError ? 'it is nested too deep' : 'it can’t be read' };
  }
  if (!verdict.valid) return verdict;
  const fingerprint = fingerprintOf(certificate.publicKey);
  const { body } = certificate;
  const known = z.uuid().safeParse(body.guest.id).success
    ? await db().prisma.guest.findUnique({ where: { id: body.guest.id }, select: { id: true } })
    : null;
  const here = own !== undefined && fingerprintOf(own) === fingerprint;
  return {
    valid: true,
    by: here ? 'here' : 'another',
    fingerprint,
    body,
    guestId: here ? (known?.id ?? null) : null,
  };
}

function read(text: string): Certificate | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return error instanceof RangeError ? 'it is nested too deep' : 'it is no JSON';
  }
  const parsed = pasted.safeParse(value);
  return parsed.success ? (parsed.data as unknown as Certificate) : 'it has not what a certificate has';
}
