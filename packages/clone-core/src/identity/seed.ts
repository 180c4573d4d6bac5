/**
 * The files of a NoCloud seed (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html): a drive labelled
 * `cidata` that cloud-init, cloudbase-init and the sample guest read at a first start. Nothing in them is a secret but the users'
 * password hashes, a Windows administrator's password and random bytes: those are given when the drive is written.
 */
import { agentWords, type AgentState } from './agents.ts';
import { cleanWords } from './clean.ts';
import type { CleanKind, DecidedIdentity, GuestInside, IdentityOptions, LinkPolicy } from './contract.ts';
import { FOLDER, lateFiles, SCRIPT, firstBootScript } from './first-boot.ts';
import { networkConfig } from './seed-network.ts';
import { settleSeed } from './scripts.ts';
import { mergeConfig, readUserData, writeConfig, writeYaml, type CloudConfig } from './user-data.ts';

export interface SeedFile {
  name: 'meta-data' | 'user-data' | 'network-config';
  content: string;
}

export interface SeedQuestion {
  decided: DecidedIdentity;
  options: IdentityOptions;
  inside?: Pick<GuestInside, 'seedReader' | 'init' | 'network'>;
  policy: LinkPolicy;
  /** Agents whose state is reset. */
  resets?: readonly AgentState[];
  /** What its first start leaves out, before it makes users: where its disk could not be edited before. */
  clean?: readonly CleanKind[];
  /** Given when the drive is written, never stored: bytes for the guest's random generator. */
  randomSeed?: Uint8Array;
  /** Given when the drive is written, never stored: Windows administrator's password. */
  administratorPassword?: string;
}

/**
 * Makes the files of one guest's drive. Throws `invalid-input` for user data that is no YAML mapping.
 */
export function seedFiles(question: SeedQuestion): SeedFile[] {
  const { decided, inside } = question;
  switch (inside?.seedReader) {
    case 'nocloud-subset':
      // The machine id is a key of ours, which only the sample guest's reader knows.
      return [
        metaData(decided, { 'machine-id': decided.machineId }),
        { name: 'user-data', content: writeConfig(subset(question)) },
      ];
    case 'cloudbase-init':
      return [
        metaData(decided, windowsData(question)),
        { name: 'user-data', content: writeConfig(cloudbase(question)) },
        ...networkFile(question),
      ];
    case 'cloud-init':
    case undefined:
      return [
        metaData(decided),
        { name: 'user-data', content: writeConfig(cloudConfig(question)) },
        ...networkFile(question),
      ];
  }
}

function metaData(decided: DecidedIdentity, more: CloudConfig = {}): SeedFile {
  return {
    name: 'meta-data',
    content: writeYaml({ 'instance-id': decided.instanceId, 'local-hostname': decided.hostname, ...more }),
  };
}

/** Keys of meta-data that cloudbase-init looks for. */
function windowsData({ decided, options, administratorPassword }: SeedQuestion): CloudConfig {
  const keys = options.users.flatMap((user) => user.sshKeys);
  return {
    'local-hostname': decided.computerName ?? decided.hostname,
    // It is set on the account that cloudbase-init is told to manage.
    ...(administratorPassword === undefined ? {} : { admin_pass: administratorPassword }),
    ...(keys.length > 0 ? { 'public-keys': keys } : {}),
  };
}

function networkFile(question: SeedQuestion): SeedFile[] {
  if (question.decided.macs.length === 0) return [];
  return [{ name: 'network-config', content: writeYaml(networkConfig(question)) }];
}

/** The sample guest takes host name from meta-data, and every line of a list that looks like a public key for root. */
function subset({ options }: SeedQuestion): CloudConfig {
  return { ssh_authorized_keys: options.users.flatMap((user) => user.sshKeys) };
}

function users(options: IdentityOptions, shell: string | undefined): CloudConfig[] {
  return options.users.map((user) => ({
    name: user.name,
    ...(shell === undefined || user.name === 'root' ? {} : { shell }),
    // Not `passwd`, which leaves a user alone that is there already.
    ...(user.passwordHash === undefined ? {} : { hashed_passwd: user.passwordHash, lock_passwd: false }),
    ...(user.administrator && user.name !== 'root' ? { sudo: 'ALL=(ALL) NOPASSWD:ALL' } : {}),
    ...(user.sshKeys.length === 0 ? {} : { ssh_authorized_keys: user.sshKeys }),
  }));
}

/** For a Linux with cloud-init. */
function cloudConfig(question: SeedQuestion): CloudConfig {
  const { decided, options, inside } = question;
  const late = lateFiles(options);
  // Alpine has no bash; elsewhere it is what people expect.
  const shell = inside?.init === 'openrc' || inside?.init === 'busybox' ? undefined : '/bin/bash';
  const ours: CloudConfig = {
    hostname: decided.hostname,
    ...(decided.fqdn === undefined ? {} : { fqdn: decided.fqdn, prefer_fqdn_over_hostname: false }),
    preserve_hostname: false,
    // Keeps what the template has in its hosts file; only the 127.0.1.1 line is ours.
    manage_etc_hosts: 'localhost',
    ssh_deletekeys: true,
    ssh_genkeytypes: ['ed25519', 'ecdsa', 'rsa'],
    ...(options.users.length === 0 ? {} : { users: ['default', ...users(options, shell)] }),
    ...(options.users.some((user) => user.name === 'root') ? { disable_root: false } : {}),
    ...(options.timezone === undefined ? {} : { timezone: options.timezone }),
    ...(options.locale === undefined ? {} : { locale: options.locale }),
    ...(question.randomSeed === undefined
      ? {}
      : {
          random_seed: {
            file: '/dev/urandom',
            data: Buffer.from(question.randomSeed).toString('base64'),
            encoding: 'base64',
          },
        }),
    // cloud-init has no module for the machine id. bootcmd is the first thing of the user data to run.
    bootcmd: [
      [
        'cloud-init-per',
        'instance',
        'offshoot-identity',
        'sh',
        '-c',
        settleSeed.trim(),
        'offshoot',
        decided.machineId,
        ...cleanWords(question.clean ?? []),
        ...agentWords(question.resets ?? [], decided),
      ],
    ],
    write_files: [
      { path: DATASOURCES, permissions: '0644', content: datasources },
      // Not cloud-init's own packages and scripts: those run whether or not there is a network yet.
      ...(late.length === 0
        ? []
        : [
            { path: SCRIPT, permissions: '0755', encoding: 'b64', content: base64(firstBootScript) },
            ...late.map((file) => ({
              path: file.path,
              permissions: `0${file.mode.toString(8)}`,
              encoding: 'b64',
              content: base64(file.content),
            })),
          ]),
    ],
    ...(late.length === 0 ? {} : { runcmd: [['sh', SCRIPT, 'later']] }),
  };
  return options.userData === undefined ? ours : mergeConfig(ours, readUserData(options.userData));
}

/** Sorted behind the others, so that it holds. */
export const DATASOURCES = '/etc/cloud/cloud.cfg.d/zz-offshoot.cfg';
/**
 * The drive is taken out once it was read. Where an image names one source, or one and None, ds-identify looks for no drive, and
 * cloud-init takes the lack of one for a new machine: new SSH host keys at the second boot (seen with 22.4). With more than one
 * named it looks, and stays off when none is there (tools/ds-identify of cloud-init).
 */
const datasources =
  '# Written by Offshoot: cloud-init acts when there is a drive for it, and keeps this machine as it is when there is none.\ndatasource_list: [NoCloud, ConfigDrive, None]\n';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/**
 * For a Windows with cloudbase-init: the cloud-config keys it knows
 * (https://cloudbase-init.readthedocs.io/en/latest/userdata.html#cloud-config). Never run: no Windows was at hand.
 */
function cloudbase({ decided, options }: SeedQuestion): CloudConfig {
  const timezone = options.windows?.timezone ?? options.timezone;
  const ours: CloudConfig = {
    set_hostname: decided.computerName ?? decided.hostname,
    ...(timezone === undefined ? {} : { set_timezone: timezone }),
    ...(options.users.length === 0
      ? {}
      : {
          users: options.users.map((user) => ({
            name: user.name,
            ...(user.administrator ? { groups: 'Administrators' } : {}),
            ...(user.sshKeys.length === 0 ? {} : { ssh_authorized_keys: user.sshKeys }),
          })),
        }),
    ...(options.firstBootScript === undefined
      ? {}
      : {
          write_files: [
            {
              path: 'C:\\Windows\\Temp\\offshoot-first-boot.ps1',
              encoding: 'b64',
              content: base64(options.firstBootScript),
              permissions: '0755',
            },
          ],
          runcmd: [
            'powershell.exe -NoProfile -ExecutionPolicy Bypass -File C:\\Windows\\Temp\\offshoot-first-boot.ps1',
          ],
        }),
  };
  return options.userData === undefined ? ours : mergeConfig(ours, readUserData(options.userData));
}

/** Folder that cloud-init writes our files into. */
export const seedFolder = FOLDER;
