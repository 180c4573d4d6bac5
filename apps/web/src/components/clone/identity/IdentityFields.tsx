'use client';

import {
  Box,
  Collapse,
  Select,
  SimpleGrid,
  Stack,
  Text,
  TextInput,
  Title,
  UnstyledButton,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconAlertTriangle, IconChevronRight } from '@tabler/icons-react';
import type { CleanKind, InsideFinding } from '@offshoot/clone-core/contract/identity';
import { useMemo, type ReactNode } from 'react';
import { AddressField } from './AddressField.tsx';
import { CleanField } from './CleanField.tsx';
import { AgentsField, FirstStartFields } from './FirstStartFields.tsx';
import { identityInShort, type IdentityForm, type IdentityProblems, type ReadIdentity } from './form.ts';
import { PolicyField } from './PolicyField.tsx';
import { UsersField } from './UsersField.tsx';
import { WindowsFields } from './WindowsFields.tsx';

/** What makes each clone its own machine: folded away, with what will happen in one line. */
export function IdentityFields({
  form,
  read,
  names,
  windows,
  memory,
  cleaned,
  found,
  refused,
  onChange,
}: {
  form: IdentityForm;
  read: ReadIdentity;
  names: readonly string[];
  windows: boolean;
  memory: boolean;
  /** What its template leaves out. */
  cleaned: readonly CleanKind[];
  /** In the source's disks; undefined: nobody has looked. */
  found: readonly InsideFinding[] | undefined;
  /** What the server said, by field. */
  refused: IdentityProblems;
  onChange: (part: Partial<IdentityForm>) => void;
}) {
  const [opened, { toggle }] = useDisclosure(false);
  const problems = { ...refused, ...read.problems };
  const clean = windows ? [] : (form.clean ?? cleaned);
  const wrong = Object.keys(problems).length > 0;
  const zones = useMemo(
    () => ['UTC', ...Intl.supportedValuesOf('timeZone').filter((zone) => zone !== 'UTC')],
    [],
  );
  return (
    <Box component="section" aria-label="Identity">
      <UnstyledButton
        onClick={toggle}
        aria-expanded={opened}
        style={{ display: 'flex', alignItems: 'flex-start', gap: 6, maxWidth: '100%' }}
      >
        <IconChevronRight
          size={16}
          style={{ transform: opened ? 'rotate(90deg)' : undefined, flexShrink: 0, marginTop: 3 }}
          aria-hidden
        />
        <span style={{ minWidth: 0 }}>
          <Text span size="sm" fw={600} display="block">
            Identity
          </Text>
          <Text span size="sm" c="dimmed" display="block" style={{ overflowWrap: 'anywhere' }}>
            {wrong ? (
              <IconAlertTriangle
                size={14}
                color="var(--state-attention)"
                aria-hidden
                style={{ verticalAlign: -2, marginRight: 4 }}
              />
            ) : null}
            {identityInShort(read, form, names.length > 1, clean)}
          </Text>
        </span>
      </UnstyledButton>
      <Collapse expanded={opened}>
        <Stack gap="lg" mt="sm" pl={{ base: 0, xs: 22 }}>
          <PolicyField form={form} problems={problems} memory={memory} onChange={onChange} />
          <Part title="Address">
            <AddressField form={form} names={names} problems={problems} onChange={onChange} />
          </Part>
          {windows ? null : (
            <Part title="Left out">
              <CleanField
                clean={clean}
                found={found}
                byTemplate={form.clean === null}
                problem={problems['clean']}
                onChange={(kinds) => onChange({ clean: kinds })}
              />
            </Part>
          )}
          <Part title="Users">
            <UsersField users={form.users} problems={problems} onChange={(users) => onChange({ users })} />
          </Part>
          <Part title="Domain, time zone, locale">
            <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
              <TextInput
                label="Domain"
                placeholder="As the source"
                description="After its name: web-1.lab.example.org"
                value={form.domain}
                onChange={(event) => onChange({ domain: event.currentTarget.value })}
                error={problems['domain']}
                spellCheck={false}
                autoComplete="off"
                maxLength={250}
              />
              <Select
                label="Time zone"
                placeholder="As the source"
                description="By its name in the tz database"
                data={zones}
                value={form.timezone}
                onChange={(timezone) => onChange({ timezone })}
                error={problems['timezone']}
                searchable
                clearable
                limit={60}
                nothingFoundMessage="No such zone."
              />
              <TextInput
                label="Locale"
                placeholder="As the source"
                value={form.locale}
                onChange={(event) => onChange({ locale: event.currentTarget.value })}
                error={problems['locale']}
                spellCheck={false}
                autoComplete="off"
                maxLength={40}
              />
            </SimpleGrid>
          </Part>
          <Part title="At its first start">
            <FirstStartFields form={form} problems={problems} onChange={onChange} />
          </Part>
          <AgentsField form={form} problems={problems} onChange={onChange} />
          {windows ? (
            <Part title="Windows">
              <WindowsFields
                form={form.windows}
                many={names.length > 1}
                problems={problems}
                onChange={(part) => onChange({ windows: { ...form.windows, ...part } })}
              />
            </Part>
          ) : null}
        </Stack>
      </Collapse>
    </Box>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div>
      <Title order={3} fz="sm" mb={6}>
        {title}
      </Title>
      {children}
    </div>
  );
}
