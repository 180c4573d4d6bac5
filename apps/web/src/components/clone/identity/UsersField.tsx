'use client';

import {
  ActionIcon,
  Button,
  Checkbox,
  Group,
  SimpleGrid,
  Stack,
  Text,
  Textarea,
  TextInput,
} from '@mantine/core';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useTRPC } from '../../../lib/trpc.ts';
import { emptyUser, type IdentityProblems, type UserForm } from './form.ts';
import { SecretField } from './SecretField.tsx';

/** People who can sign in to the guest. */
export function UsersField({
  users,
  problems,
  onChange,
}: {
  users: readonly UserForm[];
  problems: IdentityProblems;
  onChange: (users: UserForm[]) => void;
}) {
  const change = (index: number, part: Partial<UserForm>): void =>
    onChange(users.map((user, at) => (at === index ? { ...user, ...part } : user)));
  return (
    <Stack gap="sm">
      {users.map((user, index) => (
        <User
          key={user.key}
          user={user}
          place={index}
          problems={problems}
          onChange={(part) => change(index, part)}
          onRemove={() => onChange(users.filter((_, at) => at !== index))}
        />
      ))}
      {problems['users'] === undefined ? null : (
        <Text size="xs" c="var(--mantine-color-error)" role="alert">
          {problems['users']}
        </Text>
      )}
      <Group>
        <Button
          size="xs"
          variant="default"
          leftSection={<IconPlus size={14} aria-hidden />}
          disabled={users.length >= 20}
          onClick={() => onChange([...users, emptyUser(crypto.randomUUID())])}
        >
          Add a user
        </Button>
      </Group>
    </Stack>
  );
}

function User({
  user,
  place,
  problems,
  onChange,
  onRemove,
}: {
  user: UserForm;
  place: number;
  problems: IdentityProblems;
  onChange: (part: Partial<UserForm>) => void;
  onRemove: () => void;
}) {
  const trpc = useTRPC();
  // gcTime 0: what was typed does not stay in this page's memory.
  const hash = useMutation({ ...trpc.identity.hashPassword.mutationOptions(), gcTime: 0 });
  const at = (field: string): string | undefined => problems[`users.${place}.${field}`];
  const badKey = user.sshKeys.split('\n').findIndex((_, line) => at(`sshKeys.${line}`) !== undefined);
  return (
    <Stack className="panel" p="sm" gap="xs">
      <Group justify="space-between" align="flex-start" wrap="nowrap">
        <TextInput
          label="User"
          value={user.name}
          onChange={(event) => onChange({ name: event.currentTarget.value })}
          error={user.name === '' ? undefined : at('name')}
          placeholder="ann"
          autoComplete="off"
          spellCheck={false}
          maxLength={64}
          style={{ flex: 1 }}
        />
        <ActionIcon
          variant="default"
          size={30}
          mt={25}
          onClick={onRemove}
          aria-label={`Remove user ${user.name === '' ? place + 1 : user.name}`}
        >
          <IconTrash size={15} aria-hidden />
        </ActionIcon>
      </Group>
      <Textarea
        label="SSH keys"
        description="Public keys, one a line."
        value={user.sshKeys}
        onChange={(event) => onChange({ sshKeys: event.currentTarget.value })}
        error={
          at('sshKeys') ??
          (badKey === -1 ? undefined : `Line ${badKey + 1}: ${at(`sshKeys.${badKey}`) ?? ''}`)
        }
        placeholder="ssh-ed25519 AAAA… ann@laptop"
        autosize
        minRows={2}
        maxRows={6}
        spellCheck={false}
        styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } }}
      />
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
        <SecretField
          label="Password"
          description="Only its hash leaves this field."
          value={user.passwordHash}
          error={at('passwordHash')}
          keep={async (password) => {
            const { passwordHash } = await hash.mutateAsync({ password });
            hash.reset();
            return passwordHash;
          }}
          onChange={(passwordHash) => onChange({ passwordHash })}
        />
        <Checkbox
          label="May become root without a password"
          checked={user.administrator}
          onChange={(event) => onChange({ administrator: event.currentTarget.checked })}
          mt={{ base: 0, xs: 34 }}
        />
      </SimpleGrid>
    </Stack>
  );
}
