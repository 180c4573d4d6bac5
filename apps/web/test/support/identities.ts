/** Identities, a certificate, shared ones and a template's report, put straight into a database, for looking at pages. */
import type { CertificateBody, GuestInside, IdentityOutcome } from '@offshoot/clone-core/contract/identity';
import { signCertificate } from '@offshoot/clone-core/identity/certificate';
import { openDatabase, type Db } from '@offshoot/db/client';
import { keepAttestation, keepSignatures, noteShared } from '@offshoot/db/identity';
import { someAttestation, someOutcome } from '@offshoot/db/testing/identity';

export interface SeededIdentities {
  /** A guest whose agent never answered. */
  silent: string;
  /** One whose first-boot script failed. */
  scripted: string;
  /** One with another's machine id and SSH host keys. */
  twin: string;
  /** A certificate's text. */
  certificate: string;
}

const inside: GuestInside = {
  kind: 'linux',
  osName: 'Debian GNU/Linux 12 (bookworm)',
  init: 'systemd',
  seedReader: 'cloud-init',
  agent: true,
  root: { target: 'vda', filesystem: 'ext4', offset: 1_048_576, sizeBytes: 4_294_967_296 },
  agents: ['tailscale'],
  found: [
    {
      what: 'ssh-host-keys',
      level: 'warn',
      text: '3 SSH host keys are in it: every clone that keeps them can pose as any other.',
      paths: ['/etc/ssh/ssh_host_ecdsa_key', '/etc/ssh/ssh_host_ed25519_key', '/etc/ssh/ssh_host_rsa_key'],
      cleanable: true,
    },
    {
      what: 'machine-id',
      level: 'warn',
      text: 'A machine id is in it.',
      paths: ['/etc/machine-id'],
      cleanable: true,
    },
    {
      what: 'authorized-keys',
      level: 'warn',
      text: '1 authorised key is in it: its owner can sign in to every clone.',
      paths: ['/root/.ssh/authorized_keys'],
      cleanable: true,
    },
    {
      what: 'shell-history',
      level: 'warn',
      text: 'Commands that were typed are in it, perhaps with passwords among them.',
      paths: ['/root/.bash_history', '/home/ann/.bash_history'],
      bytes: 5220,
      cleanable: true,
    },
    {
      what: 'secrets',
      level: 'warn',
      text: 'Private keys or credentials are in home folders: every clone has them.',
      paths: ['/home/ann/.ssh/id_ed25519'],
      bytes: 411,
      cleanable: true,
    },
    {
      what: 'logs',
      level: 'info',
      text: 'Logs are in it.',
      paths: ['/var/log/syslog'],
      bytes: 1_843_200,
      cleanable: true,
    },
  ],
};

/** Gives guests of the database these; their names are those that look.ts makes. */
export async function seedIdentities(databaseUrl: string, privateKey: string): Promise<SeededIdentities> {
  const db = openDatabase(databaseUrl);
  try {
    await db.prisma.base.updateMany({ data: { inside: JSON.parse(JSON.stringify(inside)) as object } });
    const [proven, silent] = [await idOf(db, 'web-1'), await idOf(db, 'web-10')];
    const certificate = await certified(db, proven, 'web-1', privateKey, {});
    const { attested: _attested, linkUpAt: _up, ...unanswered } = someOutcome('web-10');
    await certified(db, silent, 'web-10', privateKey, {
      ...unanswered,
      verdict: 'silent',
      way: 'offline',
      problems: ['Nothing inside answered: what it has is not known.'],
      kept: [{ field: 'agents', why: 'they were not chosen' }],
    });
    const scripted = await idOf(db, 'web-4');
    await certified(db, scripted, 'web-4', privateKey, {
      changed: ['hostname', 'machine-id', 'users', 'first-boot-script'],
      attested: someAttestation('web-4', { firstBoot: 3 }),
    });
    const twins = await db.prisma.guest.findMany({
      where: { name: { in: ['web-2', 'web-3'] }, state: 'running' },
      orderBy: { name: 'asc' },
    });
    for (const twin of twins)
      await keepAttestation(
        db,
        { id: twin.id, uuid: twin.uuid ?? '' },
        someAttestation(twin.name, {
          machineId: 'c0ffee00c0ffee00c0ffee00c0ffee00',
          sshHostKeys: [
            { type: 'ED25519', fingerprint: 'SHA256:sharedsharedsharedsharedsharedsharedsharedsha' },
            { type: 'RSA', fingerprint: 'SHA256:alsosharedalsosharedalsosharedalsosharedalso' },
          ],
        }),
      );
    await noteShared(db);
    return { silent, scripted, twin: twins[0]?.id ?? '', certificate };
  } finally {
    await db.close();
  }
}

const idOf = async (db: Db, name: string): Promise<string> =>
  (await db.prisma.guest.findFirstOrThrow({ where: { name } })).id;

async function certified(
  db: Db,
  guestId: string,
  name: string,
  privateKey: string,
  part: Partial<IdentityOutcome>,
): Promise<string> {
  const identity = { ...someOutcome(name), ...part };
  if (part.verdict === 'silent') {
    delete identity.attested;
    delete identity.linkUpAt;
  }
  const guest = await db.prisma.guest.update({
    where: { id: guestId },
    data: {
      identity: JSON.parse(JSON.stringify(identity)) as object,
      ...(identity.attested
        ? { attested: JSON.parse(JSON.stringify(identity.attested)) as object, attestedAt: new Date() }
        : {}),
    },
  });
  const { id } = await db.prisma.certificate.create({ data: { guestId, body: {} } });
  const body: CertificateBody = {
    version: 1,
    id,
    issuedAt: new Date().toISOString(),
    installation: 'SHA256:of-this-look',
    guest: { id: guestId, name, uuid: guest.uuid ?? '', hostId: guest.hostId },
    source: { type: 'template', label: 'debian-12 v1' },
    mode: 'linked',
    operationId: id,
    identity,
  };
  const signed = signCertificate(body, privateKey);
  await keepSignatures(db, [signed]);
  return JSON.stringify(signed, null, 2);
}
