/**
 * What a guest's identity will be, decided before anything happens. Pure: the same question, the same answer; only machine and
 * instance ids come from the given source of ids.
 */
import type { IdSource } from '../driver.ts';
import type { DecidedIdentity, IdentityOptions } from './contract.ts';
import { computerNameOf, hostnameOf } from './hostnames.ts';
import { addressAt } from './static-address.ts';

export { computerNameOf, hostnameOf } from './hostnames.ts';
export { validateIdentity, type Taken } from './validate.ts';

export interface IdentityQuestion {
  /** The guest's name. */
  name: string;
  /** Which guest of its request, from 0: it gets the address `first` + index. */
  index: number;
  options: IdentityOptions;
  /** Of its network cards, in order. */
  macs: readonly string[];
  ids: Pick<IdSource, 'uuid'>;
  /** Windows has a computer name besides; unset: when Windows was asked for. */
  windows?: boolean;
}

/**
 * Decides one guest's identity. Throws `invalid-input` (field `options.identity.addressing.first`) when its address would
 * not be one that a guest can have.
 */
export function decideIdentity(question: IdentityQuestion): DecidedIdentity {
  const { name, index, options, macs, ids } = question;
  const hostname = hostnameOf(name);
  const addressing = options.addressing;
  return {
    hostname,
    ...(options.domain === undefined ? {} : { fqdn: `${hostname}.${options.domain.toLowerCase()}` }),
    machineId: ids.uuid().replaceAll('-', '').toLowerCase(),
    // cloud-init acts once for each instance id it has not seen: always a new one.
    instanceId: `offshoot-${ids.uuid().toLowerCase()}`,
    macs: macs.map((mac) => mac.toLowerCase()),
    ...(addressing?.type === 'static' ? { address: addressAt(addressing, index, name) } : {}),
    ...((question.windows ?? options.windows !== undefined)
      ? { computerName: options.windows?.computerName ?? computerNameOf(name) }
      : {}),
  };
}
