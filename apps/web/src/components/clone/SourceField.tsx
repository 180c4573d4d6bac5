'use client';

import { Group, Select, Text } from '@mantine/core';
import { IconDeviceDesktop, IconStack2 } from '@tabler/icons-react';
import type { SourceChoice } from './useSources.ts';

export function SourceField({
  sources,
  value,
  onChange,
}: {
  sources: {
    templates: SourceChoice[];
    guests: SourceChoice[];
    more: boolean;
    search: (text: string) => void;
  };
  value: string | null;
  onChange: (choice: SourceChoice) => void;
}) {
  const all = new Map([...sources.templates, ...sources.guests].map((choice) => [choice.value, choice]));
  const item = (choice: SourceChoice) => ({
    value: choice.value,
    label: `${choice.name} · ${choice.detail}`,
  });
  return (
    <Select
      label="Source"
      size="md"
      labelProps={{ fz: 'sm', fw: 600 }}
      placeholder="A template or a guest"
      searchable
      // What stands in the field is the choice, not a search.
      onSearchChange={(text) =>
        sources.search([...all.values()].some((each) => item(each).label === text) ? '' : text)
      }
      {...(sources.more ? { description: 'Not every guest is in the list: type a part of its name.' } : {})}
      allowDeselect={false}
      nothingFoundMessage="No template or guest by that name."
      maxDropdownHeight={340}
      data={[
        { group: 'Templates', items: sources.templates.map(item) },
        { group: 'Guests', items: sources.guests.map(item) },
      ].filter((group) => group.items.length > 0)}
      value={value}
      onChange={(next) => {
        const choice = next === null ? undefined : all.get(next);
        if (choice) onChange(choice);
      }}
      renderOption={({ option }) => {
        const choice = all.get(option.value);
        const Icon = choice?.source.type === 'guest' ? IconDeviceDesktop : IconStack2;
        return (
          <Group gap={8} wrap="nowrap">
            <Icon size={16} aria-hidden style={{ flexShrink: 0 }} />
            <span>
              <Text span size="sm" fw={550}>
                {choice?.name}
              </Text>{' '}
              <Text span size="sm" c="dimmed">
                {choice?.detail}
              </Text>
            </span>
          </Group>
        );
      }}
    />
  );
}
