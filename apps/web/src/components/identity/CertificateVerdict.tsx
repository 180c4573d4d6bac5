'use client';

import { Group, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconCircleX } from '@tabler/icons-react';
import Link from 'next/link';
import { changedWords, keptWords, verdictWords, givenWords } from '../../lib/identity.ts';
import type { Outputs } from '../../lib/trpc.ts';
import { Facts } from '../display/Blocks.tsx';
import { Ago, Copyable } from '../display/Text.tsx';

type Verified = Outputs['certificate']['verify'];

/** Whether it is genuine, who signed it, and (unless `brief`) what it says. */
export function CertificateVerdict({ verified, brief = false }: { verified: Verified; brief?: boolean }) {
  return (
    <Stack gap="sm" aria-live="polite">
      <Group gap={6} wrap="nowrap" align="flex-start">
        <Mark verified={verified} />
        <div>
          <Text size="sm" fw={600}>
            {heading(verified)}
          </Text>
          <Text size="sm" c="dimmed">
            {meaning(verified)}
          </Text>
        </div>
      </Group>
      {!brief && verified.valid ? <Content verified={verified} /> : null}
    </Stack>
  );
}

function Mark({ verified }: { verified: Verified }) {
  const look = { size: 18, 'aria-hidden': true, style: { flexShrink: 0, marginTop: 2 } };
  if (!verified.valid) return <IconCircleX {...look} color="var(--state-failed)" />;
  return verified.by === 'here' ? (
    <IconCircleCheck {...look} color="var(--state-good)" />
  ) : (
    <IconAlertTriangle {...look} color="var(--state-attention)" />
  );
}

function heading(verified: Verified): string {
  if (!verified.valid) return 'Not genuine';
  return verified.by === 'here'
    ? 'Genuine: this installation signed it'
    : 'Signed, but not by this installation';
}

function meaning(verified: Verified): string {
  if (!verified.valid) return `It proves nothing: ${verified.why}.`;
  return verified.by === 'here'
    ? 'Nothing in it was changed since.'
    : 'Nothing in it was changed since, but anyone can make such a key: compare its fingerprint with that of the installation that you expect.';
}

function Content({ verified }: { verified: Extract<Verified, { valid: true }> }) {
  const { body } = verified;
  const { identity } = body;
  const changed = changedWords(identity);
  return (
    <Facts
      facts={[
        [
          'Guest',
          verified.guestId === null ? (
            body.guest.name
          ) : (
            <Link key="g" href={`/guests/${verified.guestId}`}>
              {body.guest.name}
            </Link>
          ),
        ],
        ['UUID', <Copyable key="u" value={body.guest.uuid} />],
        ['Host', body.guest.hostId],
        ['Made from', `${body.source.label} (${body.source.type}, ${body.mode})`],
        ['Issued', <Ago key="i" at={body.issuedAt} />],
        ['Proof', verdictWords(identity)],
        ['Identity', `${givenWords(identity.way)}${changed === '' ? '' : ` Its own: ${changed}.`}`],
        ['Host name', identity.decided.hostname],
        ['Machine id', <Copyable key="m" value={identity.decided.machineId} />],
        ...identity.problems.map((problem) => ['Problem', problem] as const),
        ...(identity.kept.length > 0
          ? [['As its source', identity.kept.map(keptWords).join(' ')] as const]
          : []),
        ['Signed by', <Copyable key="s" value={verified.fingerprint} />],
      ]}
    />
  );
}
