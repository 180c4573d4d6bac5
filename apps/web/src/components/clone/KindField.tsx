'use client';

import { Group, Radio, Stack, Text } from '@mantine/core';
import type { CloneMode, ModeChoice } from '@offshoot/clone-core/contract';
import classes from './kind.module.css';

const kinds: readonly { mode: CloneMode; name: string; means: string }[] = [
  {
    mode: 'linked',
    name: 'Linked',
    means: 'Ready at once, shares the blocks that don’t change with its source.',
  },
  { mode: 'full', name: 'Full', means: 'An independent copy of every block.' },
  {
    mode: 'memory',
    name: 'With memory',
    means: 'Goes on where the running source is now, without a boot.',
  },
];

/** The kinds of clones, each with what it means for this source, or why it can't be had. */
export function KindField({
  value,
  modes,
  onChange,
}: {
  value: CloneMode;
  modes: readonly ModeChoice[] | undefined;
  onChange: (mode: CloneMode) => void;
}) {
  return (
    <Radio.Group
      label="Kind"
      labelProps={{ fw: 600, mb: 4 }}
      value={value}
      onChange={(mode) => onChange(mode)}
    >
      <Stack gap={8}>
        {kinds.map(({ mode, name, means }) => {
          const choice = modes?.find((known) => known.mode === mode);
          const unavailable = choice?.available === false;
          return (
            <Radio.Card
              key={mode}
              value={mode}
              disabled={unavailable}
              className={classes['card'] ?? ''}
              px={14}
              py={10}
              aria-label={name}
            >
              <Group wrap="nowrap" align="flex-start" gap={12}>
                <Radio.Indicator mt={2} disabled={unavailable} />
                <div>
                  <Text size="sm" fw={600}>
                    {name}
                    {unavailable ? ' · not available' : ''}
                  </Text>
                  <Text size="sm" c="dimmed">
                    {choice?.explanation ?? means}
                  </Text>
                </div>
              </Group>
            </Radio.Card>
          );
        })}
      </Stack>
    </Radio.Group>
  );
}
