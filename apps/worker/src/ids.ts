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
