/** What it takes for workers on other machines to reach the private PostgreSQL and Redis: TLS, by an authority of our own. */
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';

/** Where the private services listen for other machines. */
export interface FleetPlace {
  /** Name or address at which hypervisors reach this machine. */
  address: string;
  postgresPort: number;
  redisPort: number;
}

export interface Tls {
  /** Files, PEM. */
  ca: string;
  certificate: string;
  key: string;
}

/** Certificates are good for ten years: the authority is this installation's own, and trusted for nothing else. */
const DAYS = '3650';
/** One that ends sooner is made anew, milliseconds. */
const RENEW_MS = 90 * 86_400_000;

/** Address to bind to: the one that was named, or all when it is a name. */
export const bindTo = ({ address }: FleetPlace): string => (isIP(address) === 0 ? '*' : address);

/** The authority, made once, and a certificate for the address, made anew when that changes. Only its owner reads the keys. */
export async function fleetTls(data: string, place: FleetPlace): Promise<Tls> {
  const folder = join(data, 'tls');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const tls: Tls = {
    ca: join(folder, 'ca.pem'),
    certificate: join(folder, 'server.pem'),
    key: join(folder, 'server.key'),
  };
  const caKey = join(folder, 'ca.key');
  if ((await certificateAt(tls.ca)) === undefined) await makeAuthority(tls.ca, caKey);
  if (!(await stillGood(tls, place.address))) await makeCertificate(folder, tls, caKey, place.address);
  return tls;
}

async function makeAuthority(ca: string, key: string): Promise<void> {
  await openssl([
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-noenc',
    '-days',
    DAYS,
    '-subj',
    '/CN=Offshoot portal',
    '-addext',
    'basicConstraints=critical,CA:TRUE,pathlen:0',
    '-addext',
    'keyUsage=critical,keyCertSign',
    '-keyout',
    key,
    '-out',
    ca,
  ]);
  await chmod(key, 0o600);
}

async function makeCertificate(folder: string, tls: Tls, caKey: string, address: string): Promise<void> {
  const request = join(folder, 'server.csr');
  const extensions = join(folder, 'server.ext');
  // node-postgres holds a server that it reaches by its address against the name localhost (pg 8, lib/connection.js).
  const names = isIP(address) === 0 ? `DNS:${address}` : `IP:${address},DNS:localhost`;
  await writeFile(
    extensions,
    `subjectAltName=${names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n`,
  );
  await openssl([
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-noenc',
    '-subj',
    '/CN=Offshoot services',
    '-keyout',
    tls.key,
    '-out',
    request,
  ]);
  await chmod(tls.key, 0o600);
  await openssl([
    'x509',
    '-req',
    '-in',
    request,
    '-CA',
    tls.ca,
    '-CAkey',
    caKey,
    '-CAcreateserial',
    '-days',
    DAYS,
    '-extfile',
    extensions,
    '-out',
    tls.certificate,
  ]);
  await Promise.all([request, extensions].map((file) => rm(file)));
}

async function stillGood({ ca, certificate }: Tls, address: string): Promise<boolean> {
  const held = await certificateAt(certificate);
  const authority = await certificateAt(ca);
  if (!held || !authority || !held.verify(authority.publicKey)) return false;
  const named = isIP(address) === 0 ? held.checkHost(address) : held.checkIP(address);
  return named !== undefined && Date.parse(held.validTo) > Date.now() + RENEW_MS;
}

async function certificateAt(path: string): Promise<X509Certificate | undefined> {
  try {
    return new X509Certificate(await readFile(path));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function openssl(args: readonly string[]): Promise<void> {
  await execa('openssl', args, { stdin: 'ignore' });
}
