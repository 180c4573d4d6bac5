'use client';

import { Checkbox, Stack, Text } from '@mantine/core';
import { cleanKinds, type CleanKind, type InsideFinding } from '@offshoot/clone-core/contract/identity';
import { cleanWords, foundInShort } from '../../../lib/identity.ts';

/** What of the source's past its clones do not have. */
export function CleanField({
  clean,
  found,
  byTemplate,
  problem,
  onChange,
}: {
  clean: readonly CleanKind[];
  /** In the source's disks; undefined: nobody has looked. */
  found: readonly InsideFinding[] | undefined;
  /** Nothing else was chosen here. */
  byTemplate: boolean;
  problem: string | undefined;
  onChange: (clean: CleanKind[]) => void;
}) {
  return (
    <Stack gap="xs">
      <Text size="xs" c="dimmed">
        What the source has from its past, and its clones need not.
      </Text>
      {cleanKinds.map((kind) => (
        <Checkbox
          key={kind}
          label={cleanWords[kind].name}
          description={[cleanWords[kind].means, found ? foundInShort(found, kind) : '']
            .filter(Boolean)
            .join(' ')}
          checked={clean.includes(kind)}
          onChange={(event) => {
            const wanted = event.currentTarget.checked;
            onChange(cleanKinds.filter((one) => (one === kind ? wanted : clean.includes(one))));
          }}
        />
      ))}
      <Text size="xs" c="dimmed">
        {byTemplate && clean.length > 0 ? 'Chosen by its template. ' : ''}Leases of addresses are left out
        always.
      </Text>
      {problem === undefined ? null : (
        <Text size="xs" c="var(--mantine-color-error)" role="alert">
          {problem}
        </Text>
      )}
    </Stack>
  );
}
