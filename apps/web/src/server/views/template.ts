/** Templates as a browser sees them. */
import type { BaseDisk, MemoryPoint } from '@offshoot/clone-core/contract';
import { cleanSchema, type CleanKind, type GuestInside } from '@offshoot/clone-core/contract/identity';
import type { copiesOf, listTemplates } from '@offshoot/db/catalog';

type Row = Awaited<ReturnType<typeof listTemplates>>[number];

export interface TemplateVersionView {
  id: string;
  number: number;
  baseId: string;
  digest: string;
  hostId: string;
  hostName: string;
  virtualBytes: number;
  allocatedBytes: number;
  disks: { target: string; format: string; digest: string; virtualBytes: number; allocatedBytes: number }[];
  /** What ran in the guest it was made of, saved; null: disks only, its clones boot. */
  memory: { memoryBytes: number; bytes: number; takenAt: string } | null;
  /** What was found in its disks when it was made; null: nobody looked. */
  inside: GuestInside | null;
  /** Guests whose disks stand on it on that host. */
  children: number;
  /** Hosts that have it, and guests that stand on it on any of them. */
  hosts: number;
  guests: number;
  createdAt: string;
}

export interface TemplateView {
  id: string;
  name: string;
  description: string;
  osName: string;
  /** What its clones leave out, when nobody says otherwise. */
  clean: CleanKind[];
  createdAt: string;
  /** Newest first. */
  versions: TemplateVersionView[];
}

const memoryView = (point: MemoryPoint | null): TemplateVersionView['memory'] =>
  point && { memoryBytes: point.memoryBytes, bytes: point.bytes, takenAt: point.takenAt };

type Copies = Awaited<ReturnType<typeof copiesOf>>;

/** Digests of what its versions are. */
export const digestsOf = (row: Row): string[] => row.versions.map(({ base }) => base.digest);

/** Row → view. `copies`: of its digests. */
export function templateView(row: Row, copies: Copies): TemplateView {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    osName: row.osName,
    clean: cleanSchema.parse(row.clean),
    createdAt: row.createdAt.toISOString(),
    versions: row.versions.map((version) => ({
      id: version.id,
      number: version.number,
      baseId: version.baseId,
      digest: version.base.digest,
      hostId: version.base.hostId,
      hostName: version.base.host.name,
      virtualBytes: Number(version.base.virtualBytes),
      allocatedBytes: Number(version.base.allocatedBytes),
      disks: (version.base.disks as unknown as BaseDisk[]).map(
        ({ target, format, digest, virtualBytes, allocatedBytes }) => ({
          target,
          format,
          digest,
          virtualBytes,
          allocatedBytes,
        }),
      ),
      memory: memoryView(version.base.memory as unknown as MemoryPoint | null),
      inside: version.base.inside as unknown as GuestInside | null,
      children: version.base._count.children,
      hosts: copies.get(version.base.digest)?.hosts ?? 0,
      guests: copies.get(version.base.digest)?.guests ?? 0,
      createdAt: version.createdAt.toISOString(),
    })),
  };
}
