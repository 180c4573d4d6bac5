'use client';

import { Radio, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { guestNameSchema } from '@offshoot/clone-core/contract';
import { useMutation } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicWords, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Buttons } from './Buttons.tsx';
import { GuestPlan, useGuestPlan } from './GuestPlan.tsx';

/** The template it was cloned from: a new version of it is the likely wish. */
const templateOf = ({ source }: GuestView): string | undefined =>
  source?.type === 'template' ? source.label.replace(/ v\d+$/, '') : undefined;

const TYPING_MS = 300;

/** Publishes a guest as a template or as a new version of one; what that costs is shown before the click. */
export function CaptureForm({ guest, onDone }: { guest: GuestView; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const [name, setName] = useState(templateOf(guest) ?? `${guest.name}-template`);
  const [settled] = useDebouncedValue(name.trim(), TYPING_MS);
  const running = guest.state === 'running';
  const [wanted, setMemory] = useState(false);
  const memory = running && wanted;
  const named = guestNameSchema.safeParse(settled).success;
  const preview = useGuestPlan(
    named ? { kind: 'capture', guestId: guest.id, template: settled, memory } : null,
  );
  const capture = useMutation(
    trpc.operation.create.capture.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onDone();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
    }),
  );
  const { agreed } = preview;
  const wrong = guestNameSchema.safeParse(name.trim()).error?.issues[0]?.message;
  return (
    <Stack gap="sm">
      <Text size="sm">
        {running
          ? 'Its disks are copied at one consistent moment; it keeps running.'
          : 'Its disks are copied; the guest stays as it is.'}{' '}
        Clones of the template then share those blocks.
      </Text>
      {running ? (
        <Radio.Group
          label="What its clones do"
          value={memory ? 'memory' : 'disks'}
          onChange={(value) => setMemory(value === 'memory')}
        >
          <Stack gap={8} mt={4}>
            <Radio value="disks" label="Boot" description="The template holds its disks." />
            <Radio
              value="memory"
              label="Go on with what runs in it now"
              description={`A warm template: its memory${guest.memoryBytes === null ? '' : ` (${formatBytes(guest.memoryBytes)})`} is saved too, for which it stands still for a moment. Passwords and keys in memory are in it: make it of a guest whose users may share them.`}
            />
          </Stack>
        </Radio.Group>
      ) : null}
      <TextInput
        label="Template"
        description="A new name makes a template; an existing one gets a new version."
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        error={capture.error ? publicWords(capture.error) : name === '' ? undefined : wrong}
        data-autofocus
      />
      <GuestPlan preview={preview} />
      <Buttons
        label="Make template"
        busy={capture.isPending}
        disabled={agreed === undefined || wrong !== undefined}
        onDone={onDone}
        onGo={() =>
          capture.mutate({
            idempotencyKey,
            guestId: guest.id,
            template: { name: name.trim(), description: '' },
            ...(memory ? { memory: true } : {}),
            agreedFingerprint: agreed,
          })
        }
      />
    </Stack>
  );
}
