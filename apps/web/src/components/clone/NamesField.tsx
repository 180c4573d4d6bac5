'use client';

import { Grid, NumberInput, Text, TextInput } from '@mantine/core';
import { MAX_COUNT } from '@offshoot/clone-core/contract';
import { namesInShort, typePattern, type CloneForm, type ReadForm } from './form.ts';

/** A pattern and how many; below them the names that come of it. */
export function NamesField({
  form,
  read,
  wrong,
  onChange,
}: {
  form: CloneForm;
  read: ReadForm;
  wrong: string | undefined;
  onChange: (part: Partial<CloneForm>) => void;
}) {
  return (
    <div>
      <Grid gap="sm">
        <Grid.Col span={{ base: 8 }}>
          <TextInput
            label={form.count === '' || form.count <= 1 ? 'Name' : 'Names'}
            labelProps={{ fw: 600 }}
            value={form.pattern}
            onChange={(event) => onChange(typePattern(form, event.currentTarget.value))}
            error={wrong ?? read.problems.pattern}
            placeholder="web-{01..30}"
            autoComplete="off"
            spellCheck={false}
            maxLength={200}
          />
        </Grid.Col>
        <Grid.Col span={{ base: 4 }}>
          <NumberInput
            label="How many"
            labelProps={{ fw: 600 }}
            value={form.count}
            onChange={(value) =>
              onChange({ count: typeof value === 'number' ? value : value === '' ? '' : Number(value) })
            }
            error={read.problems.count}
            min={1}
            max={MAX_COUNT}
            clampBehavior="none"
            allowDecimal={false}
          />
        </Grid.Col>
      </Grid>
      <Text size="sm" c="dimmed" mt={4} mih={22} aria-live="polite">
        {read.names.length > 1
          ? `Makes ${namesInShort(read.names)}.`
          : form.pattern.includes('{')
            ? ''
            : 'For several: a range such as web-{01..30}, or just raise the number.'}
      </Text>
    </div>
  );
}
