'use client';

import type { Source } from '@offshoot/clone-core/contract';
import type { CleanKind, InsideFinding } from '@offshoot/clone-core/contract/identity';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, skipToken, useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { HostChoice } from '../../server/hosts/list.ts';
import { namePrefix } from './form.ts';

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

/**
 * What one can clone from: newest versions of templates first, then guests, of which the first that match `search`. The one
 * that a link means is always there.
 */
export function useSources(linked: string | null): {
  templates: SourceChoice[];
  guests: SourceChoice[];
  /** There are more guests than are offered: a search finds them. */
  more: boolean;
  search: (text: string) => void;
  /** All hosts, by name. */
  hosts: HostChoice[];
  loading: boolean;
  error: unknown;
  refetch: () => void;
} {
  const trpc = useTRPC();
  const [typed, search] = useState('');
  const [settled] = useDebouncedValue(typed, 200);
  const id = /^guest:([0-9a-f-]{36})$/.exec(linked ?? '')?.[1] ?? null;
  const templates = useQuery(trpc.template.list.queryOptions());
  const hosts = useQuery(trpc.host.choices.queryOptions());
  const guests = useQuery({
    ...trpc.guest.sources.queryOptions({ search: settled, id }),
    placeholderData: keepPreviousData,
  });
  return {
    hosts: hosts.data ?? [],
    search,
    more: guests.data?.more ?? false,
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
    guests: (guests.data?.guests ?? []).map((guest): SourceChoice => ({
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

/** Names that are taken, of those that a proposal for this source could collide with; undefined until they are known. */
export function useTakenNames(sourceName: string | null): ReadonlySet<string> | undefined {
  const trpc = useTRPC();
  const names = useQuery(
    trpc.guest.namesLike.queryOptions(sourceName === null ? skipToken : { prefix: namePrefix(sourceName) }),
  );
  return useMemo(() => names.data && new Set(names.data), [names.data]);
}
