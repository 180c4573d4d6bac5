import { randomBytes, randomUUID } from 'node:crypto';
import type { IdSource, Plan } from '@offshoot/clone-core/driver';

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

/**
 * A plan in which no MAC was drawn that a guest of another host has: they may be on one network. Few are, so it is planned
 * first and asked afterwards, and planned again when one is.
 * @param elsewhere which of these MACs guests of other hosts have
 */
export async function planBeside(
  plan: (ids: IdSource) => Plan,
  elsewhere: (macs: readonly string[]) => Promise<readonly string[]>,
): Promise<Plan> {
  const avoided = new Set<string>();
  for (;;) {
    const drawn: string[] = [];
    const made = plan({
      ...randomIds,
      mac: (taken) => {
        const mac = randomIds.mac(new Set([...taken, ...avoided]));
        drawn.push(mac);
        return mac;
      },
    });
    const used = drawn.length === 0 ? [] : await elsewhere(drawn);
    if (used.length === 0) return made;
    for (const mac of used) avoided.add(mac);
  }
}
