/** What is checked of an identity that is asked for, before a worker sees it, and where secrets stop being clear text. */
import { hash, truncates } from 'bcryptjs';
import type { CloneRequest } from '@offshoot/clone-core/contract';
import { addressAt } from '@offshoot/clone-core/contract/addresses';
import type { AttestedIdentity } from '@offshoot/clone-core/contract/identity';
import { OffshootError } from '@offshoot/clone-core/errors';
import { hostnameOf, validateIdentity, type Taken } from '@offshoot/clone-core/identity/decide';
import { seal } from '@offshoot/clone-core/identity/secrets';
import { storedRequestSchema } from '@offshoot/db/types';
import { env } from '../env.ts';
import { db } from '../services.ts';

/** Work factor: 2^12 rounds, about a third of a second. */
const ROUNDS = 12;

/**
 * Hash of a guest's password for /etc/shadow: bcrypt, crypt(5)’s `$2b$`. The clear text is kept nowhere. Throws `invalid-input` for one
 * that is longer than the 72 bytes that bcrypt looks at.
 */
export async function hashGuestPassword(password: string): Promise<string> {
  if (truncates(password) || password.includes('\0'))
    throw new OffshootError('invalid-input', {
      publicMessage: 'That password is too long: only its first 72 bytes would count.',
      remedy: 'Choose a shorter one.',
      field: 'password',
    });
  return hash(password, ROUNDS);
}

/** A secret that must be read again inside a guest (Windows needs its passwords in clear), sealed. Throws `not-allowed` without a key. */
export function sealForGuest(text: string): string {
  const { sealSecret } = env();
  if (sealSecret === undefined)
    throw new OffshootError('not-allowed', {
      publicMessage: 'This installation has no key to seal secrets with, so it takes none.',
      remedy: 'Ask your administrator to set OFFSHOOT_SEAL_SECRET for the web and its workers.',
    });
  return seal(text, sealSecret);
}

/**
 * Checks a clone request's identity against itself and against what other guests have. Throws `invalid-input` or `name-taken` with
 * the field at fault.
 */
export async function checkIdentity(request: CloneRequest, hostIds: readonly string[]): Promise<void> {
  validateIdentity(request.options.identity, request.names, await takenBy(request.names, new Set(hostIds)));
}

async function takenBy(names: readonly string[], hostIds: ReadonlySet<string>): Promise<Taken> {
  const own = new Set(names);
  const rows = await db().prisma.guest.findMany({
    where: { state: { notIn: ['deleting', 'missing'] } },
    select: { name: true, hostId: true, address: true, attested: true, identity: true },
  });
  const hostnames = new Map<string, string>();
  const addresses = new Map<string, string>();
  for (const row of rows) {
    // The same name twice on a host is told of as such, in better words.
    if (own.has(row.name) && hostIds.has(row.hostId)) continue;
    const attested = row.attested as unknown as AttestedIdentity | null;
    if (hostIds.has(row.hostId)) hostnames.set(hostnameOf(row.name), row.name);
    for (const address of [row.address, ...(attested?.addresses ?? [])])
      if (address !== null) addresses.set(address.split('/')[0] ?? '', row.name);
  }
  for (const [address, name] of await promised()) addresses.set(address, name);
  return { hostnames, addresses };
}

/** Addresses that clones were given, or will have when they are made. */
async function promised(): Promise<(readonly [string, string])[]> {
  const { rows } = await db().pool.query<{ name: string; address: string | null; request: unknown }>(
    `SELECT g."name", g."identity" -> 'decided' ->> 'address' AS address, o."request" FROM "guest" g
       LEFT JOIN "operation" o ON o."guestId" = g."id" AND o."kind" = 'clone' AND o."state" IN ('waiting', 'queued', 'running')
         AND o."request" #>> '{options,identity,addressing,type}' = 'static'
     WHERE g."state" NOT IN ('deleting', 'missing') AND (g."identity" -> 'decided' ? 'address' OR o."id" IS NOT NULL)`,
  );
  return rows.flatMap(({ name, address, request }) => {
    const given = address ?? addressAsked(request);
    return given === undefined ? [] : [[given.split('/')[0] ?? '', name] as const];
  });
}

function addressAsked(request: unknown): string | undefined {
  const parsed = storedRequestSchema.safeParse(request);
  if (!parsed.success || parsed.data.kind !== 'clone') return undefined;
  const { options, index, name } = parsed.data;
  const { addressing } = options.identity;
  return addressing?.type === 'static' ? addressAt(addressing, index, name) : undefined;
}
