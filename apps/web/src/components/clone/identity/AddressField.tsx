'use client';

import { Box, SegmentedControl, SimpleGrid, Stack, Text, TextInput } from '@mantine/core';
import { Quiet } from '../../display/Text.tsx';
import { addressesOf, type IdentityForm, type IdentityProblems, type PromisedAddress } from './form.ts';

/** Most addresses that are listed before the rest is counted. */
const LISTED = 12;

/** How the first network card gets its address, and which one each guest would have. */
export function AddressField({
  form,
  names,
  problems,
  onChange,
}: {
  form: IdentityForm;
  names: readonly string[];
  problems: IdentityProblems;
  onChange: (part: Partial<IdentityForm>) => void;
}) {
  const list = (path: string): string | undefined =>
    problems[path] ?? Object.entries(problems).find(([key]) => key.startsWith(`${path}.`))?.[1];
  return (
    <Stack gap="xs">
      <SegmentedControl
        aria-label="Address"
        value={form.addressing}
        onChange={(value) =>
          onChange({ addressing: value === 'static' ? 'static' : value === 'dhcp' ? 'dhcp' : 'source' })
        }
        data={[
          { value: 'source', label: 'As the source' },
          { value: 'dhcp', label: 'DHCP' },
          { value: 'static', label: 'Static' },
        ]}
        style={{ alignSelf: 'flex-start' }}
      />
      {form.addressing === 'static' ? (
        <>
          <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
            <TextInput
              label={names.length > 1 ? 'First address' : 'Address'}
              description="With the size of its network"
              placeholder="192.168.122.50/24"
              value={form.first}
              onChange={(event) => onChange({ first: event.currentTarget.value })}
              error={form.first.trim() === '' ? undefined : problems['addressing.first']}
              spellCheck={false}
              autoComplete="off"
              maxLength={60}
            />
            <TextInput
              label="Gateway"
              description="Empty: none"
              placeholder="192.168.122.1"
              value={form.gateway}
              onChange={(event) => onChange({ gateway: event.currentTarget.value })}
              error={problems['addressing.gateway']}
              spellCheck={false}
              autoComplete="off"
              maxLength={60}
            />
            <TextInput
              label="Name servers"
              placeholder="192.168.122.1, 9.9.9.9"
              value={form.nameservers}
              onChange={(event) => onChange({ nameservers: event.currentTarget.value })}
              error={list('addressing.nameservers')}
              spellCheck={false}
              autoComplete="off"
              maxLength={300}
            />
            <TextInput
              label="Search domains"
              placeholder="lab.example.org"
              value={form.search}
              onChange={(event) => onChange({ search: event.currentTarget.value })}
              error={list('addressing.search')}
              spellCheck={false}
              autoComplete="off"
              maxLength={1000}
            />
          </SimpleGrid>
          <Addresses list={addressesOf(form, names)} />
        </>
      ) : null}
    </Stack>
  );
}

function Addresses({ list }: { list: readonly PromisedAddress[] }) {
  const wrong = list.find((one) => one.why !== undefined);
  // The first ones and the last one: where a range begins and ends.
  const shown = list.length <= LISTED ? list : [...list.slice(0, LISTED - 1), ...list.slice(-1)];
  return (
    <Box aria-live="polite" mih={22}>
      {list.length === 0 ? (
        <Text size="sm" c="dimmed">
          Each guest gets the next address of that network.
        </Text>
      ) : (
        <Box
          component="ul"
          m={0}
          p={0}
          aria-label="Addresses"
          style={{
            listStyle: 'none',
            display: 'grid',
            gridTemplateColumns: 'repeat(auto-fill, minmax(230px, 1fr))',
            gap: '2px 16px',
            fontSize: 14,
          }}
        >
          {shown.map((one, index) => (
            <li key={one.name} className="num">
              {list.length > LISTED && index === LISTED - 1 ? '… ' : ''}
              {one.name} <Quiet>{one.address ?? 'none'}</Quiet>
            </li>
          ))}
        </Box>
      )}
      {wrong ? (
        <Text size="xs" c="var(--mantine-color-error)">
          {wrong.why}
        </Text>
      ) : null}
    </Box>
  );
}
