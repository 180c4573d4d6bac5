import { randomBytes, randomUUID } from 'node:crypto';
import type { IdSource } from '@offshoot/clone-core/driver';

/** Random UUIDs, and MACs under QEMU's locally usual prefix 52:54:00. */
export const randomIds: IdSource = {
  uuid: () => randomUUID(),
  mac: (taken) => {
    for (;;) {
      const mac = `52:54:00:${(randomBytes(3).toString('hex').match(/../g) ?? []).join(':')}`;
      if (!taken.has(mac)) return mac;
    }
  },
};

/** As `randomIds`, with no MAC that a guest of another host has: they may be on one network. */
export const idsBeside = (elsewhere: readonly string[]): IdSource => ({
  ...randomIds,
  mac: (taken) => randomIds.mac(new Set([...taken, ...elsewhere])),
});
