'use client';

import { Button, Group, PasswordInput, Text } from '@mantine/core';
import { IconCheck } from '@tabler/icons-react';
import { useState } from 'react';
import { publicError } from '../../../lib/trpc.ts';

/**
 * A password that is turned into what may be stored as soon as the field is left. What was typed is forgotten then, here as on the
 * server.
 */
export function SecretField({
  label,
  description,
  value,
  error,
  keep,
  onChange,
}: {
  label: string;
  description?: string;
  /** What it was turned into; null: none was given. */
  value: string | null;
  error?: string | undefined;
  /** Turns it. */
  keep: (clear: string) => Promise<string>;
  onChange: (value: string | null) => void;
}) {
  const [typed, setTyped] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const take = async (): Promise<void> => {
    if (typed === '' || busy) return;
    setBusy(true);
    try {
      onChange(await keep(typed));
      setTyped('');
      setProblem(null);
    } catch (failure) {
      const { message, remedy } = publicError(failure);
      setProblem([message, remedy].filter(Boolean).join(' '));
    } finally {
      setBusy(false);
    }
  };
  if (value !== null)
    return (
      <div>
        <Text size="sm" fw={500} mb={2}>
          {label}
        </Text>
        <Group gap="xs" mih={36}>
          <IconCheck size={16} color="var(--state-good)" aria-hidden />
          <Text size="sm">Set</Text>
          <Button size="xs" variant="default" onClick={() => onChange(null)} aria-label={`Remove: ${label}`}>
            Remove
          </Button>
        </Group>
      </div>
    );
  return (
    <PasswordInput
      label={label}
      description={description}
      value={typed}
      onChange={(event) => setTyped(event.currentTarget.value)}
      onBlur={() => void take()}
      onKeyDown={(event) => {
        if (event.key !== 'Enter') return;
        // It is not the form that is meant.
        event.preventDefault();
        void take();
      }}
      disabled={busy}
      error={problem ?? error}
      autoComplete="new-password"
      inputWrapperOrder={['label', 'description', 'input', 'error']}
    />
  );
}
