/** The identity of simulated clones: decided as for real ones, and made up where a guest would say it. */
import { createHash } from 'node:crypto';
import type { PlanNote } from '../../contract.ts';
import type { IdSource } from '../../driver.ts';
import type { AttestedIdentity, IdentityOptions, IdentityOutcome } from '../../identity/contract.ts';
import { decideIdentity } from '../../identity/decide.ts';
import { validateIdentity } from '../../identity/validate.ts';
import { chooseWay } from '../../identity/ways.ts';
import type { SimulatedGuest } from './host.ts';

/** Simulated guests are Linux with cloud-init. Throws as `chooseWay` and `validateIdentity`. */
export function planIdentity(
  guest: SimulatedGuest,
  index: number,
  options: IdentityOptions,
  ids: IdSource,
): { outcome: IdentityOutcome; notes: PlanNote[] } {
  validateIdentity(options, [guest.name]);
  const macs = guest.nics.map(({ mac }) => mac);
  const { way, policy, changed, kept } = chooseWay({
    options,
    mode: 'full',
    source: 'stopped',
    inside: { kind: 'linux', seedReader: 'cloud-init', agent: guest.hasAgent, found: [], agents: [] },
    can: { drive: true, edit: true, agent: true },
    start: true,
    nics: macs.length,
  });
  const decided = decideIdentity({ name: guest.name, index, options, macs, ids });
  return {
    outcome: { way, policy, decided, changed, kept, verdict: 'unasked', problems: [] },
    notes: [{ level: 'info', text: 'Its identity is simulated: no guest runs, and nothing is proven.' }],
  };
}

/** What its agent would say. */
export function attestedOf(outcome: IdentityOutcome, at: Date, address: string): AttestedIdentity {
  const { hostname, fqdn, machineId, macs, instanceId } = outcome.decided;
  const fingerprint = createHash('sha256').update(instanceId).digest('base64').replace(/=+$/, '');
  return {
    at: at.toISOString(),
    hostname,
    ...(fqdn === undefined ? {} : { fqdn }),
    machineId,
    macs,
    sshHostKeys: [{ type: 'ED25519', fingerprint: `SHA256:${fingerprint}` }],
    dhcpIds: [],
    addresses: [address],
    cloudInitInstance: instanceId,
    osName: 'simulated',
  };
}
