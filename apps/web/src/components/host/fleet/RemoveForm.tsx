'use client';

import { Checkbox, Skeleton, Stack, Text } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { count, listed } from '../../../lib/format.ts';
import { publicError, useTRPC } from '../../../lib/trpc.ts';
import type { HostView } from '../../../server/views/host.ts';
import { Problem } from '../../display/Blocks.tsx';
import { Buttons } from '../../guest/Buttons.tsx';
import { useHostChange } from './useHostChange.ts';

/** Takes a host out of the portal, with what would go with it. */
export function RemoveForm({ host, onDone }: { host: HostView; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [forget, setForget] = useState(false);
  const contents = useQuery(trpc.fleet.contents.queryOptions({ id: host.id }));
  const left = useHostChange(() => router.push('/hosts'));
  const remove = useMutation(trpc.fleet.remove.mutationOptions({ onSuccess: left }));
  const has = contents.data;
  const empty = has !== undefined && has.guests === 0 && has.bases === 0 && has.unfinished === 0;
  const problem = remove.error ?? contents.error;
  return (
    <Stack gap="sm">
      <Text size="sm">
        The portal forgets the host and the history of what was done there; its worker’s credential is
        revoked. Nothing on the machine itself is touched.
      </Text>
      {has === undefined && !contents.error ? <Skeleton h={44} /> : null}
      {has === undefined || empty ? null : (
        <>
          <Text size="sm">
            {host.name} has{' '}
            {listed(
              [
                has.guests > 0 ? count(has.guests, 'guest') : '',
                has.bases > 0 ? count(has.bases, 'base') : '',
                has.unfinished > 0 ? `${count(has.unfinished, 'operation')} not ended` : '',
              ].filter(Boolean),
            )}
            .
            {has.onlyHere.length > 0
              ? ` ${has.onlyHere.join(', ')} ${has.onlyHere.length === 1 ? 'is' : 'are'} on no other host and would be gone from the catalog.`
              : ''}
          </Text>
          <Checkbox
            label="Forget them"
            description="They stay on the machine. The portal no longer knows them, and what it was doing with them stays half done."
            checked={forget}
            onChange={(event) => setForget(event.currentTarget.checked)}
          />
        </>
      )}
      {problem ? <Problem error={publicError(problem)} /> : null}
      <Buttons
        label="Remove"
        danger
        busy={remove.isPending}
        disabled={has === undefined || !(empty || forget)}
        onDone={onDone}
        onGo={() => remove.mutate({ id: host.id, forget })}
      />
    </Stack>
  );
}
