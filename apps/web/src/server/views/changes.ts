/** What was changed of a guest past Offshoot: its definition as noted, against what the host says now. Pure. */
import type { RecordedDefinition } from '@offshoot/db/inventory';

export interface OutsideChange {
  what: 'name' | 'processors' | 'memory' | 'network cards' | 'disk';
  /** For `disk`: which. */
  target?: string;
  /** Null: there was, or is, none. Memory in bytes. */
  was: string | number | null;
  now: string | number | null;
}

interface Now {
  name: string;
  vcpus: number | null;
  memoryBytes: number | null;
  macs: readonly string[];
  disks: readonly { target: string; path: string }[];
}

/** Nothing where nothing was noted. */
export function outsideChanges(recorded: RecordedDefinition | null, now: Now): OutsideChange[] {
  if (!recorded) return [];
  const changes: OutsideChange[] = [];
  if (recorded.name !== now.name) changes.push({ what: 'name', was: recorded.name, now: now.name });
  if (recorded.vcpus !== now.vcpus) changes.push({ what: 'processors', was: recorded.vcpus, now: now.vcpus });
  if (recorded.memoryBytes !== now.memoryBytes)
    changes.push({ what: 'memory', was: recorded.memoryBytes, now: now.memoryBytes });
  const macs = (list: readonly string[]): string => list.toSorted().join(', ');
  if (macs(recorded.macs) !== macs(now.macs))
    changes.push({ what: 'network cards', was: macs(recorded.macs) || null, now: macs(now.macs) || null });
  const { disks } = recorded;
  if (!disks) return changes;
  const files = new Map(now.disks.map(({ target, path }) => [target, path]));
  const noted = new Map(disks.map(({ target, path }) => [target, path]));
  for (const target of [...new Set([...noted.keys(), ...files.keys()])].toSorted()) {
    const [was, is] = [noted.get(target) ?? null, files.get(target) ?? null];
    if (was !== is) changes.push({ what: 'disk', target, was, now: is });
  }
  return changes;
}
