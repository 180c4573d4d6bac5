/**
 * What makes a clone its own machine, as asked for, as decided, as found in the guest and as certified. Types shared with
 * the browser.
 */
import { z } from 'zod';

// ── what can be asked for ───────────────────────────────────────────────────────────────────────────────────────────

export const linkPolicies = ['strict', 'warn', 'off'] as const;
/**
 * What a clone's network waits for. `strict`: its links stay down until its agent attested that it has its own identity.
 * `warn`: they go up after the deadline all the same, and the operation says so. `off`: they are as the source's, nothing waits.
 */
export type LinkPolicy = (typeof linkPolicies)[number];

/** One label of a host name, RFC 1123: what `hostname` says inside. */
export const hostnameSchema = z
  .string()
  .regex(
    /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/,
    'A host name holds up to 63 letters, digits and dashes, and neither begins nor ends with a dash.',
  );

export const domainSchema = z
  .string()
  .max(190, 'A domain has at most 190 characters here, so that host names still fit before it.')
  .regex(
    /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/,
    'A domain is labels of letters, digits and dashes with dots between them: lab.example.org.',
  );

export const userSchema = z.strictObject({
  name: z
    .string()
    .regex(
      /^[a-z_][a-z0-9_-]{0,31}$/,
      'A user’s name is lower-case letters, digits, _ and -, up to 32 of them.',
    ),
  /** Public keys, one line each as in authorized_keys. */
  sshKeys: z
    .array(
      z
        .string()
        .max(16_384)
        .regex(
          /^(ssh-(ed25519|rsa|dss)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/=]+( [^\r\n]*)?$/,
          'Paste a public key: one line that begins with ssh-ed25519, ssh-rsa, ecdsa-sha2-… or sk-….',
        ),
    )
    .max(50)
    .default([]),
  /** Hash for /etc/shadow. A password in clear is hashed at the door and never stored. Unset: no password login. */
  passwordHash: z
    .string()
    .max(200)
    .regex(/^\$(2[aby]|5|6|y)\$[./A-Za-z0-9$=,]+$/, 'That is no password hash of crypt(5).')
    .optional(),
  /** May become root without a password. */
  administrator: z.boolean().default(false),
});
export type GuestUser = z.infer<typeof userSchema>;

/** An IPv4 or IPv6 address with its prefix length: 192.168.122.50/24. */
export const cidrSchema = z.union([z.cidrv4(), z.cidrv6()], {
  error: 'An address is written with the size of its network: 192.168.122.50/24.',
});
const ipSchema = z.union([z.ipv4(), z.ipv6()], { error: 'That is no IP address.' });

export const addressingSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('dhcp') }),
  /** For the first network card. The first guest gets `first`, each further one the next address of that network. */
  z.strictObject({
    type: z.literal('static'),
    first: cidrSchema,
    gateway: ipSchema.optional(),
    nameservers: z.array(ipSchema).max(6).default([]),
    search: z.array(domainSchema).max(6).default([]),
  }),
]);
export type Addressing = z.infer<typeof addressingSchema>;

/** Text sealed with the installation's key (see secrets.ts): what a row, a plan or an event may hold of a secret. */
export const sealedSchema = z
  .string()
  .max(4096)
  .regex(/^sealed:v1:[A-Za-z0-9_-]+$/);

export const windowsSchema = z.strictObject({
  /** Unset: the guest's name, cut to 15 characters. */
  computerName: z
    .string()
    .regex(
      /^(?![0-9]+$)(?!-)[A-Za-z0-9-]{1,15}(?<!-)$/,
      'A Windows computer name holds up to 15 letters, digits and dashes, not digits alone.',
    )
    .optional(),
  administratorPassword: sealedSchema.optional(),
  productKey: z
    .string()
    .regex(/^([A-Z0-9]{5}-){4}[A-Z0-9]{5}$/, 'A product key is five groups of five letters and digits.')
    .optional(),
  /** Windows' name of a time zone: "W. Europe Standard Time". */
  timezone: z
    .string()
    .max(100)
    .regex(/^[A-Za-z0-9 .()+-]+$/)
    .optional(),
  /** An account that may do nothing but join computers to this domain. */
  join: z
    .strictObject({
      domain: domainSchema,
      user: z
        .string()
        .min(1)
        .max(104)
        .regex(/^[^\s"/\\[\]:;|=,+*?<>@]+$/),
      password: sealedSchema,
      organizationalUnit: z.string().max(500).optional(),
    })
    .optional(),
});
export type WindowsIdentity = z.infer<typeof windowsSchema>;

export const cleanKinds = ['logs', 'shell-history', 'authorized-keys', 'secrets'] as const;
/** What of a source's past can be left out of its clones. Its DHCP leases always are, with its identity. */
export type CleanKind = (typeof cleanKinds)[number];
export const cleanSchema = z
  .array(z.enum(cleanKinds, `What can be cleaned: ${cleanKinds.join(', ')}.`))
  .transform((kinds) => cleanKinds.filter((kind) => kinds.includes(kind)));

/** First-boot scripts run once, as root. */
export const MAX_SCRIPT_BYTES = 65_536;

export const identityOptionsSchema = z.strictObject({
  /** Unset: `strict` where an agent is known to be in the guest, `off` where not; the preview says which. */
  policy: z.enum(linkPolicies).optional(),
  /** Seconds from the start to the attestation. */
  deadlineSeconds: z.int().min(10).max(3600).default(300),
  /** Unset: as the source. */
  domain: domainSchema.optional(),
  users: z
    .array(userSchema)
    .max(20, 'At most 20 users.')
    .refine(
      (all) => new Set(all.map((user) => user.name)).size === all.length,
      'Two users have the same name.',
    )
    .default([]),
  /** Name of the tz database: Europe/Berlin. */
  timezone: z
    .string()
    .max(64)
    .regex(/^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+){0,2}$/, 'A time zone is written as in Europe/Berlin.')
    .optional(),
  locale: z
    .string()
    .regex(
      /^([a-z]{2,3}(_[A-Z]{2})?(\.UTF-8|\.utf8)?(@[a-z]+)?|C\.UTF-8|C)$/,
      'A locale is written as in de_DE.UTF-8.',
    )
    .optional(),
  /** Unset: as the source has it. */
  addressing: addressingSchema.optional(),
  packages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9.+-]{1,99}$/i, 'That is no name of a package.'))
    .max(100)
    .default([]),
  firstBootScript: z
    .string()
    .refine(
      (text) => new TextEncoder().encode(text).byteLength <= MAX_SCRIPT_BYTES,
      'A first-boot script has at most 64 KiB; let it fetch what is larger.',
    )
    .refine((text) => text.startsWith('#!'), 'A script begins with its interpreter: #!/bin/sh.')
    .optional(),
  /** More cloud-init user data, YAML: merged after ours, which wins. */
  userData: z.string().max(MAX_SCRIPT_BYTES).optional(),
  /** Agents whose own identity is reset, by their ids in agents.ts. `found`: all that are in the guest. */
  agents: z
    .union([z.literal('found'), z.array(z.string().regex(/^[a-z0-9-]{1,40}$/)).max(100)])
    .default('found'),
  /** What is not in the clone of what its source has from its past. Unset: as the template says; of a guest nothing. */
  clean: cleanSchema.optional(),
  windows: windowsSchema.optional(),
});
export type IdentityOptions = z.infer<typeof identityOptionsSchema>;

// ── what a plan decides ─────────────────────────────────────────────────────────────────────────────────────────────

/**
 * How a clone gets its identity. `seed`: a NoCloud drive that cloud-init or cloudbase-init reads. `agent`: by its guest
 * agent, while the links are down. `offline`: in its disk, before it starts. `unattend`: an answer file on a CD, for a
 * generalized Windows. `none`: nothing inside is changed.
 */
export const identityWays = ['seed', 'agent', 'offline', 'unattend', 'none'] as const;
export type IdentityWay = (typeof identityWays)[number];

export const identityFields = [
  'name',
  'uuid',
  'mac',
  'genid', // of the virtual machine
  'hostname',
  'fqdn',
  'machine-id',
  'ssh-host-keys',
  'dhcp-id',
  'random-seed',
  'hosts-file',
  'network-configuration',
  'cloud-init-instance',
  'agents',
  'users',
  'time-zone',
  'locale',
  'address',
  'packages',
  'first-boot-script',
  'sid',
  'computer-name',
  // Not carried over.
  ...cleanKinds,
] as const;
export type IdentityField = (typeof identityFields)[number];

/** One guest's identity as decided at plan time: no secret in it. */
export interface DecidedIdentity {
  hostname: string;
  fqdn?: string;
  /** 32 lower-case hex digits. */
  machineId: string;
  /** cloud-init's instance id. */
  instanceId: string;
  macs: string[];
  /** Of the first network card, with prefix length. */
  address?: string;
  /** Windows: at most 15 characters. */
  computerName?: string;
}

// ── what is inside a guest's disks ──────────────────────────────────────────────────────────────────────────────────

export const networkStacks = [
  'netplan',
  'ifupdown',
  'networkd',
  'networkmanager',
  'ifcfg',
  'wicked',
  'busybox',
] as const;
export type NetworkStack = (typeof networkStacks)[number];

/** What was found by looking into the disks of a guest that stands still. */
export interface GuestInside {
  kind: 'linux' | 'windows' | 'unknown';
  /** `unknown`: why, as the end of a sentence: "its disk is encrypted". */
  why?: string;
  /** "Debian GNU/Linux 12 (bookworm)" */
  osName?: string;
  init?: 'systemd' | 'busybox' | 'openrc' | 'other';
  /** Reads a NoCloud drive at its first boot, and what it is. */
  seedReader?: 'cloud-init' | 'cloudbase-init' | 'nocloud-subset';
  /** A QEMU guest agent is installed. */
  agent: boolean;
  /** What can be edited from outside, and where: for the `offline` way. */
  root?: {
    /** Disk it is on: vda. */
    target: string;
    filesystem: 'ext4' | 'xfs' | 'btrfs' | 'ntfs';
    /** Of the partition, bytes; 0: the whole disk. */
    offset: number;
    sizeBytes: number;
    /** Name of volume group and logical volume, when it is on LVM. `offset` is then the volume's, on the disk. */
    lvm?: { group: string; volume: string };
    /** btrfs: path of the subvolume that is `/`, when it is not the default one. */
    subvolume?: string;
  };
  /** Why it can't be edited from outside, as the end of a sentence; unset: it can. */
  notEditable?: string;
  /** Folders with things to clean that are filesystems of their own: neither looked into nor edited. */
  apart?: string[];
  found: InsideFinding[];
  /** Ids of agents.ts whose state is there. */
  agents: string[];
  /** What brings its network up, as far as its files tell. Unset: not looked at. */
  network?: NetworkStack[];
  windows?: {
    version?: string;
    generalized: boolean;
    /** ImageState of Windows\Setup\State\State.ini */ imageState?: string;
  };
}

export const insideFindings = [
  'machine-id',
  'ssh-host-keys',
  'dhcp-leases',
  'persistent-nic-names',
  'mac-bound-network',
  'random-seed',
  'cloud-init-state',
  'logs',
  'shell-history',
  'authorized-keys',
  'secrets',
  'agent-state',
  'not-generalized',
  'no-agent',
  'no-seed-reader',
] as const;
/** Something in a template that its clones would share, or lack. */
export interface InsideFinding {
  what: (typeof insideFindings)[number];
  level: 'info' | 'warn';
  /** A sentence: "3 SSH host keys are in it: every clone that keeps them can pose as any other." */
  text: string;
  /** Paths inside the guest, at most 20. */
  paths: string[];
  bytes?: number;
  /** "Clean on clone" takes it away. */
  cleanable: boolean;
}

// ── what a guest says of itself ─────────────────────────────────────────────────────────────────────────────────────

/** What a guest's agent read inside it, just now. */
export interface AttestedIdentity {
  /** ISO 8601. */
  at: string;
  hostname: string;
  fqdn?: string;
  machineId?: string;
  bootId?: string;
  /** Of network cards that are devices, lower case. */
  macs: string[];
  /** As `ssh-keygen -l` prints them. */
  sshHostKeys: { type: string; fingerprint: string }[];
  /** DHCP client ids and DUIDs, hex, where they can be read. */
  dhcpIds: string[];
  addresses: string[];
  /** Windows: security identifier of the machine. */
  sid?: string;
  cloudInitInstance?: string;
  osName?: string;
  /** The 127.0.1.1 line of /etc/hosts names this host. Unset: there is none. */
  hostsFile?: boolean;
  /** Its first-boot work that makes keys and users has not ended. */
  busy?: boolean;
  /** The user's script of its first start: still to end, or the code it ended with. Unset: not told; 0 also where there was none. */
  firstBoot?: 'running' | number;
}

/** What a finished clone says of its identity: stored, then certified. */
export interface IdentityOutcome {
  way: IdentityWay;
  policy: LinkPolicy;
  decided: DecidedIdentity;
  changed: IdentityField[];
  /** What stays as in the source, and why, as the end of a sentence. */
  kept: { field: IdentityField; why: string }[];
  /** Unset: nothing attested it. */
  attested?: AttestedIdentity;
  /** `attested`: all that was decided was found. `mismatch`: something else was found. `silent`: no agent answered in time. `unasked`: policy `off`, or not started yet. */
  verdict: 'attested' | 'mismatch' | 'silent' | 'unasked';
  /** Sentences: "The machine id is still the source's." */
  problems: string[];
  /** ISO 8601; unset: the links are still down, or were never. */
  linkUpAt?: string;
}

/** Signed by the installation: canonical JSON (RFC 8785) of this, Ed25519. */
export interface CertificateBody {
  version: 1;
  id: string;
  issuedAt: string;
  installation: string;
  guest: { id: string; name: string; uuid: string; hostId: string };
  source: {
    type: 'guest' | 'template';
    label: string;
    uuid?: string;
    baseDigest?: string;
    generation?: number;
  };
  mode: string;
  operationId: string;
  identity: IdentityOutcome;
}
export interface Certificate {
  body: CertificateBody;
  /** base64 */
  signature: string;
  algorithm: 'ed25519';
  /** SPKI, PEM. */
  publicKey: string;
}

/** Two or more guests that have the same of what must be unique. */
export interface SharedIdentity {
  field: 'mac' | 'uuid' | 'machine-id' | 'ssh-host-key' | 'sid';
  value: string;
  guests: { id: string; name: string; hostId: string; hostName: string; running: boolean }[];
  /** ISO 8601: when it was first seen. */
  since: string;
}
