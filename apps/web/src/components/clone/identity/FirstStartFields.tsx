'use client';

import { MultiSelect, Radio, Stack, Textarea, TextInput } from '@mantine/core';
import { MAX_SCRIPT_BYTES } from '@offshoot/clone-core/contract/identity';
import { useQuery } from '@tanstack/react-query';
import { formatBytes } from '../../../lib/format.ts';
import { useTRPC } from '../../../lib/trpc.ts';
import { bytesOf, type IdentityForm, type IdentityProblems } from './form.ts';

interface Props {
  form: IdentityForm;
  problems: IdentityProblems;
  onChange: (part: Partial<IdentityForm>) => void;
}

const code = { input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } };
const size = (text: string): string => `${formatBytes(bytesOf(text))} of ${formatBytes(MAX_SCRIPT_BYTES)}`;

/** What happens once, when the guest starts for the first time. */
export function FirstStartFields({ form, problems, onChange }: Props) {
  const badPackage = Object.entries(problems).find(([path]) => path.startsWith('packages'))?.[1];
  return (
    <Stack gap="sm">
      <TextInput
        label="Packages"
        description="Installed by the guest’s own package manager, from its own sources."
        placeholder="nginx, htop"
        value={form.packages}
        onChange={(event) => onChange({ packages: event.currentTarget.value })}
        error={badPackage}
        spellCheck={false}
        autoComplete="off"
        maxLength={10_000}
      />
      <Textarea
        label="First-boot script"
        description={
          form.script === ''
            ? 'Runs once, as root. It is stored as it is: keep secrets out of it.'
            : `Runs once, as root · ${size(form.script)}`
        }
        placeholder={'#!/bin/sh\n'}
        value={form.script}
        onChange={(event) => onChange({ script: event.currentTarget.value })}
        error={problems['firstBootScript']}
        autosize
        minRows={3}
        maxRows={14}
        spellCheck={false}
        styles={code}
      />
      <Textarea
        label="More user data"
        description={
          form.userData === ''
            ? 'cloud-init’s YAML, for guests that have it. Where both say something, the fields here win.'
            : `cloud-init’s YAML · ${size(form.userData)}`
        }
        placeholder={'#cloud-config\n'}
        value={form.userData}
        onChange={(event) => onChange({ userData: event.currentTarget.value })}
        error={problems['userData']}
        autosize
        minRows={2}
        maxRows={14}
        spellCheck={false}
        styles={code}
      />
    </Stack>
  );
}

/** Agents that would otherwise tell their servers that the clone is its source. */
export function AgentsField({ form, problems, onChange }: Props) {
  const trpc = useTRPC();
  const { data } = useQuery(trpc.identity.agents.queryOptions());
  return (
    <Stack gap="xs">
      <Radio.Group
        label="Agents that get an identity of their own"
        value={form.agents === null ? 'found' : 'chosen'}
        onChange={(value) => onChange({ agents: value === 'found' ? null : [] })}
      >
        <Stack gap={8} mt={6}>
          <Radio value="found" label="All that are found in it" />
          <Radio value="chosen" label="Only these" />
        </Stack>
      </Radio.Group>
      {form.agents === null ? null : (
        <MultiSelect
          aria-label="Agents"
          placeholder={form.agents.length === 0 ? 'None: they stay as in the source' : ''}
          data={(data ?? []).map(({ id, name }) => ({ value: id, label: name }))}
          value={form.agents}
          onChange={(agents) => onChange({ agents })}
          error={problems['agents']}
          searchable
          clearable
          nothingFoundMessage="No such agent is known."
        />
      )}
    </Stack>
  );
}
