'use client';

import { Button, Group, PasswordInput, Stack, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { signOut } from '../../lib/session.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import { Facts, Failed, PageTitle, Section, SkeletonRows } from '../display/Blocks.tsx';

/** Who am I here, and how do I sign in? */
export function AccountPage() {
  const trpc = useTRPC();
  const { data: me, error, refetch } = useQuery(trpc.me.get.queryOptions());
  const others = useMutation(trpc.me.signOutEverywhereElse.mutationOptions());
  if (error && !me) return <Failed error={error} retry={() => void refetch()} />;
  if (!me)
    return (
      <div style={{ maxWidth: 520 }}>
        <PageTitle title="Account" />
        <SkeletonRows rows={4} height={48} />
      </div>
    );
  return (
    <div style={{ maxWidth: 520 }}>
      <PageTitle title="Account" />
      <Section title="You">
        <Facts
          facts={[
            ['Name', me.name],
            ['Email', me.email],
            ['Role', me.role === 'admin' ? 'administrator' : me.role],
          ]}
        />
      </Section>
      <Section title={me.hasPassword ? 'Change the password' : 'Choose a password'}>
        <PasswordForm needsOld={me.hasPassword && !me.mayChoosePassword} hasPassword={me.hasPassword} />
      </Section>
      <Section title="Sessions">
        <Group gap="sm">
          <Button variant="default" loading={others.isPending} onClick={() => others.mutate()}>
            Sign out everywhere else
          </Button>
          <Button variant="default" onClick={() => void signOut()}>
            Sign out here
          </Button>
        </Group>
        <Text component="output" display="block" size="sm" mt="xs" c="dimmed" mih={22}>
          {others.isSuccess
            ? 'Every other session is ended.'
            : others.error
              ? publicError(others.error).message
              : ''}
        </Text>
      </Section>
    </div>
  );
}

function PasswordForm({ needsOld, hasPassword }: { needsOld: boolean; hasPassword: boolean }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const [currentPassword, setCurrent] = useState('');
  const [newPassword, setNew] = useState('');
  const choose = useMutation(
    trpc.me.choosePassword.mutationOptions({
      onSuccess: () => {
        setCurrent('');
        setNew('');
        void queryClient.invalidateQueries({ queryKey: trpc.me.pathKey() });
      },
    }),
  );
  const problem = choose.error ? publicError(choose.error) : undefined;
  const submit = (): void => choose.mutate({ newPassword, ...(needsOld ? { currentPassword } : {}) });
  return (
    <form
      method="post"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Stack gap="sm" className="panel" p="md">
        {hasPassword ? null : (
          <Text size="sm" c="dimmed">
            You signed in by link. With a password you can come back without one.
          </Text>
        )}
        {needsOld ? (
          <PasswordInput
            label="Current password"
            autoComplete="current-password"
            value={currentPassword}
            onChange={(event) => setCurrent(event.currentTarget.value)}
            error={problem?.field === 'currentPassword' ? problem.message : undefined}
            required
            withAsterisk={false}
          />
        ) : null}
        <PasswordInput
          label="New password"
          description="At least 10 characters."
          autoComplete="new-password"
          value={newPassword}
          onChange={(event) => setNew(event.currentTarget.value)}
          error={problem && problem.field !== 'currentPassword' ? problem.message : undefined}
          minLength={10}
          maxLength={128}
          required
          withAsterisk={false}
        />
        <Group justify="space-between">
          <Text component="output" size="sm">
            {choose.isSuccess ? 'The password is set.' : ''}
          </Text>
          <Button type="submit" loading={choose.isPending}>
            Set password
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
