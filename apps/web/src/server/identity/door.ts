/** What is checked of an identity that is asked for, before a worker sees it, and where secrets stop being clear text. */
import { hash, truncates } from 'bcryptjs';
import type { CloneRequest } from '@offshoot/clone-core/contract';
import { addressAt } from '@offshoot/clone-core/contract/addresses';
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
  const { names, options } = request;
  // By itself first: only then are its addresses known.
  validateIdentity(options.identity, names);
  validateIdentity(options.identity, names, await takenBy(request, hostIds));
}

/**
 * What guests of any host have: whether their networks meet, nobody knows here. The same name twice on a host is told of as such, in
 * better words: rows of `hostIds` with one of the request's names are left out.
 */
async function takenBy({ names, options }: CloneRequest, hostIds: readonly string[]): Promise<Taken> {
  const { rows } = await db().pool.query<{ name: string; host: string; here: boolean }>(
    `SELECT g."name", h."name" AS host, g."hostId" = ANY($1) AS here FROM "guest" g JOIN "host" h ON h."id" = g."hostId"
     WHERE NOT (g."hostId" = ANY($1) AND g."name" = ANY($2)) AND g."state" NOT IN ('deleting', 'missing')
       AND regexp_replace(lower(g."name" COLLATE "C"), '[^a-z0-9]+', '', 'g') = ANY($3) ORDER BY here`,
    [hostIds, names, names.flatMap(lettersOf)],
  );
  // Of two that have it, the one on the same host is named.
  const hostnames = new Map(
    rows.map(({ name, host, here }) => [hostnameOf(name), here ? name : `${name} on ${host}`]),
  );
  const { addressing } = options.identity;
  if (addressing?.type !== 'static') return { hostnames };
  const wanted = names.map((name, index) => bare(addressAt(addressing, index, name)));
  const addresses = new Map([
    ...(await had(wanted, names, hostIds)),
    ...(await promised(wanted, names, hostIds)),
  ]);
  return { hostnames, addresses };
}

/** Letters and digits of names that make the same host name as this one: what the database looks for. */
function lettersOf(name: string): string[] {
  const of = (text: string): string => text.toLowerCase().replaceAll(/[^a-z0-9]+/g, '');
  const [own, host] = [of(name), of(hostnameOf(name))];
  return host.startsWith('guest') ? [own, host, host.slice('guest'.length)] : [own, host];
}

const bare = (address: string): string => address.split('/')[0] ?? '';

/** Who has one of these addresses, was given it, or said so. */
async function had(
  wanted: string[],
  names: string[],
  hostIds: readonly string[],
): Promise<[string, string][]> {
  const { rows } = await db().pool.query<{ name: string; address: string }>(
    `SELECT g."name", split_part(a."address", '/', 1) AS address FROM "guest" g, LATERAL (
       SELECT g."address" UNION ALL SELECT g."identity" #>> '{decided,address}'
       UNION ALL SELECT jsonb_array_elements_text(g."attested" -> 'addresses')) AS a("address")
     WHERE g."state" NOT IN ('deleting', 'missing') AND split_part(a."address", '/', 1) = ANY($1)
       AND NOT (g."hostId" = ANY($2) AND g."name" = ANY($3))`,
    [wanted, hostIds, names],
  );
  return rows.map(({ name, address }) => [address, name]);
}

/** Who will have one of these addresses when it is made. */
async function promised(
  wanted: string[],
  names: string[],
  hostIds: readonly string[],
): Promise<[string, string][]> {
  const { rows } = await db().pool.query<{ name: string; request: unknown }>(
    `SELECT g."name", o."request" FROM "operation" o JOIN "guest" g ON g."id" = o."guestId"
     WHERE o."kind" = 'clone' AND o."state" IN ('waiting', 'queued', 'running') AND g."state" NOT IN ('deleting', 'missing')
       AND o."request" #>> '{options,identity,addressing,type}' = 'static' AND NOT (g."hostId" = ANY($1) AND g."name" = ANY($2))`,
    [hostIds, names],
  );
  return rows.flatMap(({ name, request }): [string, string][] => {
    const address = addressAsked(request);
    return address !== undefined && wanted.includes(address) ? [[address, name]] : [];
  });
}

function addressAsked(request: unknown): string | undefined {
  const parsed = storedRequestSchema.safeParse(request);
  if (!parsed.success || parsed.data.kind !== 'clone') return undefined;
  const { options, index, name } = parsed.data;
  const { addressing } = options.identity;
  return addressing?.type === 'static' ? bare(addressAt(addressing, index, name)) : undefined;
}
