'use client';

import { SimpleGrid, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useTRPC } from '../../../lib/trpc.ts';
import type { IdentityProblems, WindowsForm } from './form.ts';
import { SecretField } from './SecretField.tsx';

/** What only Windows has. */
export function WindowsFields({
  form,
  many,
  problems,
  onChange,
}: {
  form: WindowsForm;
  many: boolean;
  problems: IdentityProblems;
  onChange: (part: Partial<WindowsForm>) => void;
}) {
  const trpc = useTRPC();
  const seal = useMutation({ ...trpc.identity.seal.mutationOptions(), gcTime: 0 });
  const keep = async (secret: string): Promise<string> => {
    const { sealed } = await seal.mutateAsync({ secret });
    seal.reset();
    return sealed;
  };
  const at = (field: string): string | undefined => problems[`windows.${field}`];
  const text = (
    field: 'computerName' | 'productKey' | 'timezone' | 'domain' | 'joinUser' | 'organizationalUnit',
    label: string,
    placeholder: string,
    path: string = field,
  ) => (
    <TextInput
      label={label}
      placeholder={placeholder}
      value={form[field]}
      onChange={(event) => onChange({ [field]: event.currentTarget.value })}
      error={at(path)}
      autoComplete="off"
      spellCheck={false}
      maxLength={500}
    />
  );
  return (
    <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
      {many ? null : text('computerName', 'Computer name', 'From its name')}
      <SecretField
        label="Administrator’s password"
        value={form.administratorPassword}
        error={at('administratorPassword')}
        keep={keep}
        onChange={(administratorPassword) => onChange({ administratorPassword })}
      />
      {text('productKey', 'Product key', 'XXXXX-XXXXX-XXXXX-XXXXX-XXXXX')}
      {text('timezone', 'Windows time zone', 'W. Europe Standard Time')}
      {text('domain', 'Joins the domain', 'corp.example.org', 'join.domain')}
      {text('joinUser', 'With the account', 'one that may only join computers', 'join.user')}
      <SecretField
        label="The account’s password"
        value={form.joinPassword}
        error={at('join.password')}
        keep={keep}
        onChange={(joinPassword) => onChange({ joinPassword })}
      />
      {text(
        'organizationalUnit',
        'Organizational unit',
        'OU=Lab,DC=corp,DC=example,DC=org',
        'join.organizationalUnit',
      )}
    </SimpleGrid>
  );
}
