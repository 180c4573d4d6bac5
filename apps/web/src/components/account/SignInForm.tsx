'use client';

import { Alert, Button, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { signIn } from '../../lib/session.ts';
import { SignInFrame } from './SignInFrame.tsx';

export function SignInForm({ next, linkUsed }: { next: string; linkUsed: boolean }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  const submit = async (data: FormData): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    try {
      const wrong = await signIn(text(data, 'email'), text(data, 'password'));
      if (wrong === undefined) return window.location.assign(next);
      setProblem(wrong);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      setProblem('The portal does not answer. Check your connection and try again.');
    }
    setBusy(false);
  };
  return (
    <SignInFrame title="Sign in">
      {linkUsed ? (
        <Alert color="gray" variant="outline" mb="md">
          That sign-in link was used already or is too old. Ask whoever runs this portal for a new one.
        </Alert>
      ) : null}
      {next === '/' || linkUsed ? null : (
        <Text size="sm" c="dimmed" mb="md">
          Sign in to go on to the page you asked for.
        </Text>
      )}
      <form
        method="post"
        onSubmit={(event) => {
          event.preventDefault();
          void submit(new FormData(event.currentTarget));
        }}
      >
        <Stack gap="sm">
          <TextInput
            name="email"
            type="email"
            label="Email"
            required
            withAsterisk={false}
            autoComplete="username"
            defaultValue=""
            maxLength={320}
          />
          <PasswordInput
            name="password"
            label="Password"
            required
            withAsterisk={false}
            autoComplete="current-password"
            maxLength={128}
          />
          <Text size="sm" role="alert" mih={20} style={{ color: 'var(--mantine-color-error)' }}>
            {problem}
          </Text>
          <Button type="submit" loading={busy} fullWidth>
            Sign in
          </Button>
        </Stack>
      </form>
      <Text size="xs" c="dimmed" mt="md">
        No password, or forgotten? Whoever runs this portal can give you a link that signs you in once.
      </Text>
    </SignInFrame>
  );
}

function text(data: FormData, name: string): string {
  const value = data.get(name);
  return typeof value === 'string' ? value : '';
}
