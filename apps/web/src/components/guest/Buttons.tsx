'use client';

import { Button, Group } from '@mantine/core';

/** The end of a dialog: away from it, or on with it. What can't be undone is never what Enter does at once. */
export function Buttons({
  label,
  busy,
  onGo,
  onDone,
  disabled = false,
  danger = false,
}: {
  label: string;
  busy: boolean;
  onGo: () => void;
  onDone: () => void;
  disabled?: boolean;
  danger?: boolean;
}) {
  return (
    <Group justify="flex-end" mt="md">
      <Button variant="default" onClick={onDone} {...(danger ? { 'data-autofocus': true } : {})}>
        Cancel
      </Button>
      <Button
        onClick={onGo}
        loading={busy}
        disabled={disabled}
        {...(danger ? { color: 'red.9' } : { 'data-autofocus': true })}
      >
        {label}
      </Button>
    </Group>
  );
}
