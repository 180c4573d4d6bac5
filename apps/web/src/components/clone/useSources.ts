'use client';

import type { Source } from '@offshoot/clone-core/contract';
import type { CleanKind, InsideFinding } from '@offshoot/clone-core/contract/identity';
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { HostView } from '../../server/views/host.ts';

export interface SourceChoice {
  /** "template:<version id>" or "guest:<id>": as in the address of the page. */
  value: string;
  name: string;
  /** "v3 · Debian 12 · 8 GiB · on host-1" */
  detail: string;
  source: Source;
  hostId: string;
  /** Known to be Windows inside. */
  windows: boolean;
  /** What clones of it leave out, when nobody says otherwise. */
  clean: readonly CleanKind[];
  /** In its disks; undefined: nobody has looked. */
  found: readonly InsideFinding[] | undefined;
  /** Ids under which a link may mean it. */
  aliases: string[];
}

/** Everything one can clone from: newest versions of templates first, then guests. */
export function useSources(): {
  templates: SourceChoice[];
  guests: SourceChoice[];
  /** Names of the guests there are. */
  taken: ReadonlySet<string>;
  /** All hosts, by name. */
  hosts: HostView[];
  loading: boolean;
  error: unknown;
  refetch: () => void;
} {
  const trpc = useTRPC();
  const templates = useQuery(trpc.template.list.queryOptions());
  const hosts = useQuery(trpc.host.list.queryOptions());
  const guests = useQuery(trpc.guest.list.queryOptions({ pageSize: 500 }));
  const taken = useMemo(() => new Set(guests.data?.guests.map(({ name }) => name)), [guests.data]);
  return {
    taken,
    hosts: hosts.data ?? [],
    loading: templates.isPending || guests.isPending || hosts.isPending,
    error: templates.error ?? guests.error ?? hosts.error,
    refetch: () => void Promise.all([templates.refetch(), guests.refetch(), hosts.refetch()]),
    templates: (templates.data ?? []).flatMap((template) =>
      template.versions.map((version, index): SourceChoice => ({
        value: `template:${version.id}`,
        name: template.name,
        detail: [
          `v${version.number}`,
          template.osName,
          formatBytes(version.virtualBytes),
          version.memory ? `warm, ${formatBytes(version.memory.memoryBytes)} of memory` : '',
          `on ${version.hostName}`,
        ]
          .filter(Boolean)
          .join(' · '),
        source: { type: 'template', versionId: version.id },
        hostId: version.hostId,
        windows: version.inside?.kind === 'windows',
        clean: template.clean,
        found: version.inside?.found,
        aliases: index === 0 ? [`template:${template.id}`] : [],
      })),
    ),
    guests: (guests.data?.guests ?? [])
      .filter((guest) => guest.state === 'running' || guest.state === 'stopped' || guest.state === 'paused')
      .map((guest): SourceChoice => ({
        value: `guest:${guest.id}`,
        name: guest.name,
        detail: [
          guest.state,
          guest.virtualBytes === null ? '' : formatBytes(guest.virtualBytes),
          `on ${guest.host.name}`,
        ]
          .filter(Boolean)
          .join(' · '),
        source: { type: 'guest', id: guest.id },
        hostId: guest.host.id,
        windows: guest.windows,
        clean: [],
        found: undefined,
        aliases: [],
      })),
  };
}
