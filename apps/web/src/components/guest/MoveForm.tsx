'use client';

import { Select, Stack, Text } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Buttons } from './Buttons.tsx';
import { GuestPlan, useGuestPlan } from './GuestPlan.tsx';

/** Another host for a guest, and what the move takes, before the click. */
export function MoveForm({ guest, onDone }: { guest: GuestView; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const [hostId, setHostId] = useState<string | null>(null);
  const [network, setNetwork] = useState<string | null>(null);
  const hosts = useQuery(trpc.host.list.queryOptions()).data ?? [];
  const others = hosts.filter(({ id, kind }) => id !== guest.host.id && kind === 'libvirt');
  const chosen = others.find(({ id }) => id === hostId);
  const wish =
    hostId === null ? null : { guestId: guest.id, hostId, ...(network === null ? {} : { network }) };
  const preview = useGuestPlan(wish === null ? null : { kind: 'migrate', ...wish });
  const move = useMutation(
    trpc.operation.create.migrate.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onDone();
        const last = operationIds.at(-1);
        if (last !== undefined) router.push(`/operations/${last}`);
      },
    }),
  );
  const { agreed } = preview;
  const running = guest.state === 'running';
  return (
    <Stack gap="sm">
      <Text size="sm">
        {running
          ? 'It keeps running while it is moved, and stays the same guest.'
          : 'It stays stopped, and the same guest.'}
      </Text>
      <Select
        label="Host"
        placeholder="Choose where it goes"
        data={others.map(({ id, name, state, facts }) => ({
          value: id,
          label:
            state === 'silent'
              ? `${name} · not heard from`
              : state === 'problem'
                ? `${name} · needs attention`
                : facts
                  ? `${name} · ${formatBytes(facts.store.freeBytes)} free`
                  : name,
          disabled: state !== 'online',
        }))}
        value={hostId}
        onChange={(next) => {
          setHostId(next);
          setNetwork(null);
        }}
        nothingFoundMessage="There is no other host"
        allowDeselect={false}
      />
      {chosen?.facts ? (
        <Select
          label="Network there"
          placeholder="The same as here"
          data={chosen.facts.networks.filter(({ active }) => active).map(({ name }) => name)}
          value={network}
          onChange={setNetwork}
          clearable
        />
      ) : null}
      {hostId === null ? null : (
        <GuestPlan preview={preview} problem={move.error ? publicError(move.error) : undefined} />
      )}
      <Buttons
        label="Move"
        busy={move.isPending}
        disabled={wish === null || agreed === undefined}
        onDone={onDone}
        onGo={() => {
          if (wish !== null) move.mutate({ idempotencyKey, ...wish, agreedFingerprint: agreed });
        }}
      />
    </Stack>
  );
}
