'use client';

import { Button, FileButton, Group, Stack, Text, Textarea } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import { PageTitle, Problem, Section } from '../display/Blocks.tsx';
import { Copyable } from '../display/Text.tsx';
import { CertificateVerdict } from './CertificateVerdict.tsx';

/** As the server has it. */
const LONGEST = 200_000;

/** Is this certificate genuine, and what does it say? */
export function VerifyPage() {
  const trpc = useTRPC();
  const [text, setText] = useState('');
  const [problem, setProblem] = useState<string | null>(null);
  const verify = useMutation(trpc.certificate.verify.mutationOptions());
  const key = useQuery(trpc.certificate.publicKey.queryOptions());
  const change = (next: string): void => {
    setText(next);
    setProblem(null);
    verify.reset();
  };
  const judge = (what: string): void => {
    if (what.trim() === '') setProblem('Paste a certificate first.');
    else if (what.length > LONGEST) setProblem('A certificate is far smaller than that.');
    else verify.mutate({ text: what });
  };
  const take = async (file: File | null): Promise<void> => {
    if (!file) return;
    if (file.size > LONGEST * 4) {
      setProblem(`${file.name} is too large to be a certificate.`);
      return;
    }
    const read = await file.text();
    change(read);
    judge(read);
  };
  return (
    <>
      <title>Check a certificate · Offshoot</title>
      <PageTitle title="Check a certificate" />
      <Stack gap="md" maw={860}>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            judge(text);
          }}
        >
          <Stack gap="sm">
            <Textarea
              label="Certificate"
              description="What “Download” on a guest’s page gave: a JSON file."
              value={text}
              onChange={(event) => change(event.currentTarget.value)}
              error={problem}
              minRows={8}
              maxRows={16}
              autosize
              spellCheck={false}
              styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } }}
            />
            <Group gap="sm">
              <Button type="submit" loading={verify.isPending}>
                Check
              </Button>
              <FileButton accept="application/json,.json" onChange={(file) => void take(file)}>
                {(props) => (
                  <Button variant="default" {...props}>
                    Choose a file
                  </Button>
                )}
              </FileButton>
            </Group>
          </Stack>
        </form>
        {verify.error ? <Problem error={publicError(verify.error)} /> : null}
        {verify.data ? <CertificateVerdict verified={verify.data} /> : null}
        <Section title="This installation’s key">
          {key.data ? (
            <Stack className="panel" p="sm" gap={6}>
              <Copyable value={key.data.fingerprint} />
              <Text size="sm" c="dimmed">
                Ed25519 over the certificate’s body as canonical JSON (RFC 8785). With this public key anyone
                can check a certificate without this portal:
              </Text>
              <Copyable value={key.data.publicKey} shown={key.data.publicKey.trim().split('\n')[1] ?? ''} />
            </Stack>
          ) : (
            <Text size="sm" c="dimmed">
              {key.error
                ? publicError(key.error).message
                : key.data === null
                  ? 'It has none, so it signs nothing. Your administrator sets OFFSHOOT_IDENTITY_KEY.'
                  : ' '}
            </Text>
          )}
        </Section>
      </Stack>
    </>
  );
}
