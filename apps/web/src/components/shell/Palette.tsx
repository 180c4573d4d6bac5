'use client';

import { Spotlight, type SpotlightActionData } from '@mantine/spotlight';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { IconDeviceDesktop, IconPlus, IconSearch, IconStack2 } from '@tabler/icons-react';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { useTRPC } from '../../lib/trpc.ts';
import { guestStateWord } from '../display/State.tsx';
import { pages } from './pages.ts';

/** Ctrl+K: pages, guests and templates by name. */
export function Palette() {
  const router = useRouter();
  const trpc = useTRPC();
  const [query, setQuery] = useState('');
  const [opened, setOpened] = useState(false);
  const [search] = useDebouncedValue(query, 150);
  const guests = useQuery({
    ...trpc.guest.list.queryOptions({ search, pageSize: 8 }),
    enabled: opened,
    placeholderData: keepPreviousData,
  });
  const templates = useQuery({ ...trpc.template.list.queryOptions(), enabled: opened });
  const go = (
    id: string,
    label: string,
    href: string,
    rest: Partial<SpotlightActionData>,
  ): SpotlightActionData => ({ id, label, onClick: () => router.push(href), ...rest });
  const actions = [
    {
      group: 'Pages',
      actions: [
        go('new-clone', 'New clone', '/clone', { leftSection: <IconPlus size={17} /> }),
        ...pages.map(({ href, label, icon: Icon }) =>
          go(href, label, href, { leftSection: <Icon size={17} /> }),
        ),
      ],
    },
    {
      group: 'Guests',
      actions: (guests.data?.guests ?? []).map((guest) =>
        go(guest.id, guest.name, `/guests/${guest.id}`, {
          description: [guestStateWord(guest.state), guest.address].filter(Boolean).join(' · '),
          leftSection: <IconDeviceDesktop size={17} />,
        }),
      ),
    },
    {
      group: 'Templates',
      actions: (templates.data ?? []).map((template) =>
        go(template.id, template.name, `/templates/${template.id}`, {
          leftSection: <IconStack2 size={17} />,
        }),
      ),
    },
  ];
  return (
    <Spotlight
      actions={actions}
      query={query}
      onQueryChange={setQuery}
      onSpotlightOpen={() => setOpened(true)}
      shortcut="mod + K"
      nothingFound="Nothing by that name."
      highlightQuery
      limit={30}
      scrollable
      scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}
      attributes={{ content: { 'aria-label': 'Find anything' } }}
      maxHeight={420}
      searchProps={{
        leftSection: <IconSearch size={18} />,
        placeholder: 'A page, guest or template',
        'aria-label': 'Find anything',
      }}
    />
  );
}
