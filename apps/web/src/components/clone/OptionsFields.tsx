'use client';

import {
  Box,
  Checkbox,
  Collapse,
  Group,
  NumberInput,
  Select,
  SimpleGrid,
  Stack,
  UnstyledButton,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconChevronRight } from '@tabler/icons-react';
import type { HostChoice } from '../../server/hosts/list.ts';
import { canRefresh, networksOf, type CloneForm, type FormProblems } from './form.ts';

/** What most people leave as it is. */
export function OptionsFields({
  form,
  problems,
  hosts,
  onChange,
}: {
  form: CloneForm;
  problems: FormProblems;
  /** Where the clones may be made. */
  hosts: readonly HostChoice[];
  onChange: (part: Partial<CloneForm>) => void;
}) {
  const [opened, { toggle }] = useDisclosure(false);
  const networks = networksOf(hosts);
  const number = (value: number | string): number | '' => (value === '' ? '' : Number(value));
  const boots = form.mode !== 'memory';
  const asSource = boots ? undefined : 'As the source: it goes on from its memory.';
  return (
    <Stack gap="sm">
      <Group gap="lg">
        <Checkbox
          label="Start it"
          disabled={!boots}
          checked={!boots || form.start}
          onChange={(event) => onChange({ start: event.currentTarget.checked })}
        />
        {form.mode === 'full' ? (
          <Checkbox
            label="Compare the copy with its source"
            checked={form.verify}
            onChange={(event) => onChange({ verify: event.currentTarget.checked })}
          />
        ) : null}
        {canRefresh(form) ? (
          <Checkbox
            label="Can be brought up to date later"
            checked={form.refreshable}
            onChange={(event) => onChange({ refreshable: event.currentTarget.checked })}
          />
        ) : null}
        <Checkbox
          label="Wait until its agent answers"
          disabled={!boots || !form.start}
          checked={!boots || (form.start && form.waitForAgent)}
          onChange={(event) => onChange({ waitForAgent: event.currentTarget.checked })}
        />
      </Group>
      <Box>
        <UnstyledButton
          onClick={toggle}
          aria-expanded={opened}
          style={{ display: 'inline-flex', alignItems: 'center', gap: 6, fontSize: 14, fontWeight: 600 }}
        >
          <IconChevronRight
            size={16}
            style={{ transform: opened ? 'rotate(90deg)' : undefined }}
            aria-hidden
          />{' '}
          More options
        </UnstyledButton>
        <Collapse expanded={opened}>
          <SimpleGrid cols={{ base: 1, xs: 2 }} mt="sm" spacing="sm">
            <NumberInput
              label="Processors"
              placeholder="As the source"
              value={boots ? form.vcpus : ''}
              disabled={!boots}
              description={asSource}
              onChange={(value) => onChange({ vcpus: number(value) })}
              error={problems.vcpus}
              allowDecimal={false}
              min={1}
              max={256}
              clampBehavior="none"
            />
            <NumberInput
              label="Memory (MiB)"
              placeholder="As the source"
              value={boots ? form.memoryMiB : ''}
              disabled={!boots}
              description={asSource}
              onChange={(value) => onChange({ memoryMiB: number(value) })}
              error={problems.memoryMiB}
              allowDecimal={false}
              min={64}
              step={128}
              clampBehavior="none"
            />
            <Select
              label="Network"
              placeholder="As the source"
              clearable
              value={form.network}
              onChange={(network) => onChange({ network })}
              data={networks}
              nothingFoundMessage={
                hosts.length > 1 ? 'The hosts report no network.' : 'The host reports no network.'
              }
            />
            <Select
              label="TPM"
              allowDeselect={false}
              value={boots ? form.tpm : 'new'}
              disabled={!boots}
              onChange={(tpm) => onChange({ tpm: tpm === 'copy' ? 'copy' : 'new' })}
              data={[
                { value: 'new', label: 'A new, empty one' },
                { value: 'copy', label: 'A copy of the source’s' },
              ]}
              description="Only for guests that have one."
            />
          </SimpleGrid>
        </Collapse>
      </Box>
    </Stack>
  );
}
