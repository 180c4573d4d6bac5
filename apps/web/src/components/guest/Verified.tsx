'use client';

import { Button, Group, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconEqual, IconEqualNot } from '@tabler/icons-react';
import { verdict, verificationWords } from '../../lib/verification.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Section } from '../display/Blocks.tsx';
import { Ago, Copyable, Quiet } from '../display/Text.tsx';
import { whyNotVerify } from './VerifyForm.tsx';

/** Whether the clone is what its source is, as last compared, and the way to compare it. */
export function Verified({ guest, onVerify }: { guest: GuestView; onVerify: () => void }) {
  if (guest.mode === null) return null;
  const { verified } = guest;
  const why = whyNotVerify(guest);
  const blocked = why !== undefined || guest.busy !== null;
  return (
    <Section
      title="Compared with its source"
      aside={
        <Button
          size="xs"
          variant="default"
          disabled={blocked}
          leftSection={<IconEqual size={14} aria-hidden />}
          onClick={onVerify}
        >
          Compare
        </Button>
      }
    >
      <Stack className="panel" p="sm" gap={4}>
        {verified === null ? (
          <Text size="sm">
            <Quiet>Not yet.</Quiet>
          </Text>
        ) : (
          <Result verified={verified} />
        )}
        {why === undefined ? null : (
          <Text size="sm" c="dimmed">
            {why}
          </Text>
        )}
      </Stack>
    </Section>
  );
}

function Result({ verified }: { verified: NonNullable<GuestView['verified']> }) {
  const bad = verified.baseIntact === false;
  return (
    <>
      <Group gap={6} wrap="nowrap">
        {bad ? (
          <IconAlertTriangle size={17} color="var(--state-failed)" aria-hidden style={{ flexShrink: 0 }} />
        ) : verified.equal ? (
          <IconCircleCheck size={17} color="var(--state-good)" aria-hidden style={{ flexShrink: 0 }} />
        ) : (
          <IconEqualNot size={17} color="var(--state-stopped)" aria-hidden style={{ flexShrink: 0 }} />
        )}
        <Text size="sm" fw={600}>
          {verdict(verified)}, <Ago at={verified.at} />
        </Text>
      </Group>
      {verified.disks.map((disk) =>
        disk.digest === undefined ? null : (
          <Group key={disk.target} gap={8}>
            <Text size="sm" c="dimmed">
              {verified.disks.length > 1 ? `${disk.target} sha256` : 'sha256'}
            </Text>
            <Copyable value={disk.digest} shown={`${disk.digest.slice(0, 16)}…`} />
          </Group>
        ),
      )}
      {verificationWords(verified).map((line) => (
        <Text key={line} size="sm">
          {line}
        </Text>
      ))}
    </>
  );
}
