/** Whether a guest is who it should be: what was decided, against what its agent read inside it. */
import type { AttestedIdentity, DecidedIdentity, IdentityField, IdentityOutcome } from './contract.ts';
import { readAddress } from './addresses.ts';

/** What is known of the source from inside it: by its own attestation, or by looking into its disks. */
export type SourceIdentity = Partial<
  Pick<
    AttestedIdentity,
    'hostname' | 'machineId' | 'macs' | 'sshHostKeys' | 'dhcpIds' | 'sid' | 'cloudInitInstance'
  >
>;

export interface JudgeQuestion {
  decided: DecidedIdentity;
  /** What the plan said would be changed: only that is asked of the guest. */
  changed: readonly IdentityField[];
  /** Unset: no agent answered in time. */
  attested?: AttestedIdentity;
  source?: SourceIdentity;
  /** Its links are up: then its address has to be there too. Many systems set none before. */
  linkUp?: boolean;
}

/**
 * Judges one attestation. A mismatch may pass while a guest is still starting: ask again until it is attested or the deadline is
 * over. Pure.
 */
export function judge(question: JudgeQuestion): Pick<IdentityOutcome, 'verdict' | 'problems'> {
  const { attested } = question;
  if (!attested)
    return { verdict: 'silent', problems: ['Nothing inside answered: what it has is not known.'] };
  const problems = checks.flatMap((check) => check({ ...question, attested, source: question.source ?? {} }));
  return { verdict: problems.length === 0 ? 'attested' : 'mismatch', problems };
}

type Case = Required<Pick<JudgeQuestion, 'decided' | 'changed' | 'attested' | 'source'>> & {
  linkUp?: boolean;
};
type Check = (one: Case) => string[];

const when = (wrong: boolean, problem: string): string[] => (wrong ? [problem] : []);
const sameName = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && a.toLowerCase() === b.toLowerCase();
const firstLabel = (name: string): string => name.split('.')[0] ?? '';

const checks: readonly Check[] = [
  ({ attested }) => when(attested.busy === true, 'Its first start is still making its keys and users.'),
  ({ decided, changed, attested }) => {
    const own = decided.computerName ?? decided.hostname;
    return when(
      changed.includes('hostname') && !sameName(firstLabel(attested.hostname), own),
      `Its host name is ${attested.hostname}, not ${own}.`,
    );
  },
  ({ decided, changed, attested }) =>
    when(
      changed.includes('fqdn') &&
        attested.fqdn !== undefined &&
        decided.fqdn !== undefined &&
        !sameName(attested.fqdn, decided.fqdn),
      `Its full name is ${attested.fqdn ?? ''}, not ${decided.fqdn ?? ''}.`,
    ),
  ({ decided, changed, attested, source }) => {
    if (!changed.includes('machine-id') || sameName(attested.machineId, decided.machineId)) return [];
    if (attested.machineId === undefined) return ['It has no machine id.'];
    return sameName(attested.machineId, source.machineId)
      ? ['The machine id is still the source’s.']
      : ['The machine id is neither the source’s nor the one it was given.'];
  },
  ({ decided, attested, source }) => {
    const has = attested.macs.map((mac) => mac.toLowerCase());
    const missing = decided.macs.filter((mac) => !has.includes(mac.toLowerCase()));
    const kept = (source.macs ?? [])
      .map((mac) => mac.toLowerCase())
      .filter((mac) => has.includes(mac) && !decided.macs.includes(mac));
    return [
      ...missing.map((mac) => `No network card inside has the address ${mac}.`),
      ...kept.map((mac) => `A network card inside still has the source’s address ${mac}.`),
    ];
  },
  ({ changed, attested, source }) => {
    if (!changed.includes('ssh-host-keys')) return [];
    const known = new Set(source.sshHostKeys?.map((key) => key.fingerprint));
    return [
      ...attested.sshHostKeys
        .filter((key) => known.has(key.fingerprint))
        .map((key) => `Its ${key.type} SSH host key is still the source’s.`),
      ...when(
        attested.sshHostKeys.length === 0 && known.size > 0,
        'It has no SSH host keys: its SSH server can’t start.',
      ),
    ];
  },
  ({ attested, source }) => {
    const known = new Set(source.dhcpIds?.map((id) => id.toLowerCase()));
    return when(
      attested.dhcpIds.some((id) => known.has(id.toLowerCase())),
      'It would ask for an address with the source’s DHCP id.',
    );
  },
  ({ changed, attested }) =>
    when(
      changed.includes('hosts-file') && attested.hostsFile === false,
      'Its hosts file names another host.',
    ),
  ({ decided, changed, attested }) =>
    when(
      changed.includes('cloud-init-instance') &&
        attested.cloudInitInstance !== undefined &&
        attested.cloudInitInstance !== decided.instanceId,
      'cloud-init did not act on its drive: it holds another instance id.',
    ),
  ({ changed, attested, source }) =>
    when(
      changed.includes('sid') && attested.sid !== undefined && attested.sid === source.sid,
      'Its security identifier (SID) is still the source’s.',
    ),
  ({ decided, attested, linkUp }) => {
    const own = decided.address === undefined ? undefined : readAddress(decided.address);
    return when(
      linkUp === true &&
        own !== undefined &&
        !attested.addresses.some((text) => {
          const one = readAddress(text);
          return one?.version === own.version && one.address === own.address;
        }),
      `It does not have the address ${decided.address ?? ''}.`,
    );
  },
];
