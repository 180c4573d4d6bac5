'use client';

import { MultiSelect, SegmentedControl, Select, Stack, Text } from '@mantine/core';
import type { HostChoice } from '../../server/hosts/list.ts';
import { chooses, spreads, type CloneForm, type Spread, type Where } from './form.ts';
import type { SourceChoice } from './useSources.ts';

const ways: readonly { value: Where; label: string }[] = [
  { value: 'auto', label: 'Choose for me' },
  { value: 'some', label: 'These hosts' },
  { value: 'one', label: 'One host' },
];
const spreadWords: Readonly<Record<Spread, string>> = {
  even: 'Evenly',
  few: 'On as few hosts as will do',
  apart: 'Each on a host of its own',
  together: 'All on one host',
};
const stateNote = { online: '', problem: ' (has a problem)', silent: ' (does not answer)' } as const;

/** Where the clones are made. With one host there is nothing to ask. */
export function WhereField({
  form,
  hosts,
  source,
  count,
  onChange,
}: {
  form: CloneForm;
  hosts: readonly HostChoice[];
  source: SourceChoice | null;
  count: number;
  onChange: (part: Partial<CloneForm>) => void;
}) {
  if (form.where === null || source === null) return null;
  if (!chooses(form))
    return (
      <div>
        <Label />
        <Text size="sm" c="dimmed">
          On {hosts.find(({ id }) => id === source.hostId)?.name ?? source.hostId}, where {source.name} is. A
          template made of it can be cloned on any host.
        </Text>
      </div>
    );
  const data = hosts.map(({ id, name, state }) => ({ value: id, label: `${name}${stateNote[state]}` }));
  return (
    <Stack gap={8}>
      <div>
        <Label />
        <SegmentedControl
          fullWidth
          aria-label="Where"
          data={[...ways]}
          value={form.where}
          onChange={(where) => onChange({ where, hostIds: where === 'one' ? [source.hostId] : form.hostIds })}
        />
      </div>
      {form.where === 'one' ? (
        <Select
          aria-label="Host"
          placeholder="A host"
          allowDeselect={false}
          data={data}
          value={form.hostIds[0] ?? null}
          onChange={(id) => onChange({ hostIds: id === null ? [] : [id] })}
        />
      ) : null}
      {form.where === 'some' ? (
        <MultiSelect
          aria-label="Hosts"
          placeholder={form.hostIds.length === 0 ? 'Hosts to choose from' : ''}
          data={data}
          value={form.hostIds}
          onChange={(hostIds) => onChange({ hostIds })}
        />
      ) : null}
      {form.where !== 'one' && count > 1 ? (
        <Select
          label="Spread them"
          allowDeselect={false}
          data={spreads.map((value) => ({ value, label: spreadWords[value] }))}
          value={form.spread}
          onChange={(value) => onChange({ spread: spreads.find((each) => each === value) ?? 'even' })}
        />
      ) : null}
    </Stack>
  );
}

function Label() {
  return (
    <Text size="sm" fw={600} mb={4}>
      Where
    </Text>
  );
}
