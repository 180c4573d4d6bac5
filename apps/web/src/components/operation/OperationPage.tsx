'use client';

import { Button, Group, Stack, Text } from '@mantine/core';
import { modals } from '@mantine/modals';
import { notifications } from '@mantine/notifications';
import { isEnded } from '@offshoot/clone-core/contract';
import { useMutation, useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { useRouter } from 'next/navigation';
import { useIdempotencyKey } from '../../lib/key.ts';
import { formatDuration } from '../../lib/format.ts';
import { useNow } from '../../lib/now.ts';
import { operationTitle, secondsOf } from '../../lib/operation.ts';
import { publicWords, useTRPC } from '../../lib/trpc.ts';
import type { OperationView } from '../../server/views/operation.ts';
import { Facts, FailedPage, PageTitle, SkeletonRows } from '../display/Blocks.tsx';
import { OperationStateLabel } from '../display/State.tsx';
import { Ago, Copyable, Simulated } from '../display/Text.tsx';
import { OperationLog } from './OperationLog.tsx';
import { Outcome } from './Outcome.tsx';
import { Timeline } from './Timeline.tsx';

/** How far is it, and what next? */
export function OperationPage({ id }: { id: string }) {
  const trpc = useTRPC();
  const { data: operation, error, refetch } = useQuery(trpc.operation.get.queryOptions({ id }));
  if (error && !operation)
    return (
      <FailedPage
        title="Operation"
        error={error}
        retry={() => void refetch()}
        list={{ href: '/operations', label: 'All operations' }}
      />
    );
  if (!operation)
    return (
      <>
        <PageTitle title="Operation" />
        <SkeletonRows rows={5} height={44} />
      </>
    );
  return (
    <>
      <title>{`${operationTitle(operation)} · Offshoot`}</title>
      <PageTitle
        title={operationTitle(operation)}
        aside={
          <Group gap="sm">
            <Text component="span">
              <OperationStateLabel state={operation.state} />
            </Text>
            {operation.host.simulated ? <Simulated /> : null}
          </Group>
        }
      >
        <Actions operation={operation} />
      </PageTitle>
      <Stack gap="md">
        <Outcome operation={operation} />
        <Timeline operation={operation} />
        <OperationLog operation={operation} />
        <About operation={operation} />
      </Stack>
    </>
  );
}

function About({ operation }: { operation: OperationView }) {
  const trpc = useTRPC();
  const now = useNow();
  const seconds = secondsOf(operation, now ?? 0);
  const together = useQuery(trpc.operation.together.queryOptions({ batchId: operation.batchId })).data ?? 1;
  return (
    <Facts
      facts={[
        [
          'Guest',
          operation.guest ? (
            <Link href={`/guests/${operation.guest.id}`}>{operation.guest.name}</Link>
          ) : (
            noGuest(operation)
          ),
        ],
        [
          'Host',
          <Link key="host" href={`/hosts/${operation.host.id}`}>
            {operation.host.name}
          </Link>,
        ],
        [
          'Asked for',
          <span key="asked">
            <Ago at={operation.createdAt} />
            {operation.requestedBy === null ? '' : ` by ${operation.requestedBy}`}
          </span>,
        ],
        [
          operation.finishedAt === null && seconds !== undefined ? 'Running for' : 'Took',
          seconds === undefined || now === undefined ? (
            'not started'
          ) : (
            <span key="took" className="num">
              {formatDuration(seconds)}
            </span>
          ),
        ],
        ...(together > 1
          ? [
              [
                'Batch',
                <Link key="batch" href={`/operations/batch/${operation.batchId}`}>
                  All {together} operations of this click
                </Link>,
              ] as const,
            ]
          : []),
        ['Id', <Copyable key="id" value={operation.id} />],
      ]}
    />
  );
}

/** Templates and bases are nobody's guest; a guest that was deleted, or whose clone was undone, had a row once. */
const noGuest = ({ kind }: OperationView): string =>
  kind === 'import' || kind === 'remove-base' ? 'none' : 'gone';

function Actions({ operation }: { operation: OperationView }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [key, renew] = useIdempotencyKey();
  const fail = (error: unknown) =>
    void notifications.show({ message: publicWords(error), color: 'gray', autoClose: 10_000 });
  const cancel = useMutation(trpc.operation.cancel.mutationOptions({ onError: fail }));
  const retry = useMutation(
    trpc.operation.retry.mutationOptions({
      onError: fail,
      onSuccess: (accepted) => {
        renew();
        const id = accepted.operationIds.at(-1);
        if (id !== undefined) router.push(`/operations/${id}`);
      },
    }),
  );
  if (operation.state === 'finished') {
    return operation.guest && operation.kind !== 'delete' ? (
      <Button component={Link} href={`/guests/${operation.guest.id}`} size="sm">
        Open {operation.guest.name}
      </Button>
    ) : null;
  }
  if (isEnded(operation.state)) {
    return (
      <Button
        size="sm"
        loading={retry.isPending}
        onClick={() => retry.mutate({ id: operation.id, idempotencyKey: key })}
      >
        {operation.state === 'stale' ? 'Go on with the new plan' : 'Try again'}
      </Button>
    );
  }
  const cancelling = operation.cancelRequested || operation.state === 'undoing';
  const ask = () =>
    modals.openConfirmModal({
      title: `Cancel “${operationTitle(operation)}”?`,
      children: <Text size="sm">{whatCancelDoes(operation)}</Text>,
      labels: { confirm: 'Cancel it', cancel: 'Let it go on' },
      onConfirm: () => cancel.mutate({ id: operation.id }),
    });
  return (
    <Button size="sm" variant="default" onClick={ask} disabled={cancelling} loading={cancel.isPending}>
      {cancelling ? 'Cancelling…' : 'Cancel'}
    </Button>
  );
}

function whatCancelDoes(operation: OperationView): string {
  if (operation.startedAt === null) return 'It has not begun, so nothing has to be undone.';
  if (operation.kind === 'clone') return 'What was copied so far is deleted. The source is not touched.';
  if (operation.kind === 'capture' || operation.kind === 'import')
    return 'What was stored so far is deleted. The source stays as it is.';
  return 'It stops at the step it is at, and undoes what can be undone.';
}
