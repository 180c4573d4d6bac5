'use client';

import { Box, Button, Group, Progress, Text } from '@mantine/core';
import { modals } from '@mantine/modals';
import { isEnded, type OperationState } from '@offshoot/clone-core/contract';
import { useMutation, useQuery } from '@tanstack/react-query';
import { count } from '../../lib/format.ts';
import { fractionOf, operationTitle, stateWords } from '../../lib/operation.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { OperationView } from '../../server/views/operation.ts';
import { FailedPage, PageTitle, Problem, SkeletonRows } from '../display/Blocks.tsx';
import { operationTone, toneColor } from '../display/State.tsx';
import { OperationRow } from './OperationRow.tsx';

const order: readonly OperationState[] = [
  'failed',
  'stale',
  'running',
  'undoing',
  'queued',
  'waiting',
  'cancelled',
  'finished',
];

/** All operations of one click. */
export function BatchPage({ id }: { id: string }) {
  const trpc = useTRPC();
  const { data, error, refetch } = useQuery(trpc.operation.batch.queryOptions({ batchId: id }));
  const cancel = useMutation(trpc.operation.cancelBatch.mutationOptions());
  if (error && !data)
    return (
      <FailedPage
        title="Operations"
        error={error}
        retry={() => void refetch()}
        list={{ href: '/operations', label: 'All operations' }}
      />
    );
  if (!data)
    return (
      <>
        <PageTitle title="Operations" />
        <SkeletonRows rows={8} height={58} />
      </>
    );
  const open = data.filter((operation) => !isEnded(operation.state)).length;
  const title = titleOf(data);
  const ask = (): void => {
    modals.openConfirmModal({
      title: 'Cancel all of it?',
      children: (
        <Text size="sm">
          {count(open, 'operation')} not ended yet {open === 1 ? 'is' : 'are'} cancelled and what they did is
          undone. Guests that are finished stay.
        </Text>
      ),
      labels: { confirm: 'Cancel all', cancel: 'Let it go on' },
      onConfirm: () => cancel.mutate({ batchId: id }),
    });
  };
  return (
    <>
      <title>{`${title} · Offshoot`}</title>
      <PageTitle title={title}>
        {open > 0 ? (
          <Button size="sm" variant="default" loading={cancel.isPending} onClick={ask}>
            Cancel all
          </Button>
        ) : null}
      </PageTitle>
      {cancel.error ? (
        <Box mb="md">
          <Problem error={publicError(cancel.error)} />
        </Box>
      ) : null}
      <Summary operations={data} />
      <Silent operations={data} />
      <Box className="panel">
        {data.map((operation) => (
          <OperationRow key={operation.id} operation={operation} />
        ))}
      </Box>
    </>
  );
}

function titleOf(operations: readonly OperationView[]): string {
  const clones = operations.filter((operation) => operation.kind === 'clone');
  const first = operations[0];
  if (clones.length > 1) return `Clone ${count(clones.length, 'guest')}`;
  return first ? operationTitle(first) : 'Operations';
}

/** What waits for a host that does not answer, and what becomes of it. */
function Silent({ operations }: { operations: readonly OperationView[] }) {
  const trpc = useTRPC();
  const open = operations.filter((operation) => !isEnded(operation.state));
  const hosts = useQuery({ ...trpc.host.list.queryOptions(), enabled: open.length > 0 });
  const silent = (hosts.data ?? []).filter(({ state }) => state === 'silent');
  return silent.map(({ id, name }) => {
    const waiting = open.filter(({ host }) => host.id === id);
    if (waiting.length === 0) return null;
    const begun = waiting.filter(({ startedAt }) => startedAt !== null).length;
    return (
      <Box key={id} mb="md">
        <Problem
          error={{
            code: 'host-unreachable',
            message: `${name} does not answer. ${count(waiting.length, 'operation')} of these ${waiting.length === 1 ? 'waits' : 'wait'} for it.`,
            remedy:
              begun === 0
                ? 'Clones whose host was chosen for you are made on others after half a minute, where they find a place.'
                : `What has begun there (${begun}) goes on or is undone when it is back.`,
            retryable: false,
          }}
        />
      </Box>
    );
  });
}

function Summary({ operations }: { operations: readonly OperationView[] }) {
  const done = operations.reduce(
    (sum, operation) => sum + (isEnded(operation.state) ? 1 : (fractionOf(operation) ?? 0)),
    0,
  );
  const groups = order
    .map((state) => ({ state, number: operations.filter((operation) => operation.state === state).length }))
    // How many are finished is said beside it.
    .filter(({ state, number }) => number > 0 && state !== 'finished');
  const finished = operations.filter((operation) => operation.state === 'finished').length;
  const over = operations.every((operation) => isEnded(operation.state));
  // The colour of what went worst; blue as long as something goes on.
  const worst = over
    ? (order.find((state) => operations.some((one) => one.state === state)) ?? 'finished')
    : 'running';
  return (
    <Box mb="md">
      <Group justify="space-between" mb={6}>
        <Text size="sm" fw={600} className="num">
          {finished} of {operations.length} finished
        </Text>
        <Text size="sm" c="dimmed" className="num">
          {groups.map(({ state, number }) => `${number} ${stateWords[state].toLowerCase()}`).join(' · ')}
        </Text>
      </Group>
      <Progress
        value={(100 * done) / operations.length}
        size={10}
        color={toneColor(operationTone(worst))}
        aria-label="The whole batch"
      />
    </Box>
  );
}
