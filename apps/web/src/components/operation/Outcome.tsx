'use client';

import { Alert, List, Stack, Text } from '@mantine/core';
import {
  IconAlertTriangle,
  IconCircleCheck,
  IconCircleX,
  IconClock,
  IconPlayerStop,
} from '@tabler/icons-react';
import type { IdentityOutcome } from '@offshoot/clone-core/contract/identity';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { count, formatBytes, formatDuration } from '../../lib/format.ts';
import { verdictRemedy, verdictWords, givenWords } from '../../lib/identity.ts';
import { isHiddenBase } from '../../lib/operation.ts';
import { useTRPC } from '../../lib/trpc.ts';
import { verdict, verificationWords } from '../../lib/verification.ts';
import type { OperationView } from '../../server/views/operation.ts';
import { PlanSummary } from '../clone/PlanSummary.tsx';
import { Copyable } from '../display/Text.tsx';
import { exportFacts, transferFacts } from './outcome-facts.tsx';

/** The answer on top of the page: why it waits, how it ended, what was undone. */
export function Outcome({ operation }: { operation: OperationView }) {
  switch (operation.state) {
    case 'waiting':
      return (
        <Box
          icon={<IconClock color="var(--state-stopped)" />}
          title={
            operation.after
              ? `Starts when “${operation.after.title}” has finished`
              : 'Starts when another operation has finished'
          }
        />
      );
    case 'queued':
      return <Queued operation={operation} />;
    case 'running':
      return operation.plan ? null : (
        <Box
          icon={<IconClock color="var(--state-working)" />}
          title="Looking at the source and deciding the steps"
        />
      );
    case 'undoing':
      return (
        <Box
          icon={<IconPlayerStop color="var(--state-working)" />}
          title={
            operation.cancelRequested
              ? 'Cancelled. Undoing what it had done.'
              : 'It failed. Undoing what it had done.'
          }
        >
          {operation.error?.message}
        </Box>
      );
    case 'finished':
      return <Finished operation={operation} />;
    case 'failed':
      return (
        <Box
          icon={<IconCircleX color="var(--state-failed)" />}
          title={operation.error?.message ?? 'It failed.'}
        >
          {operation.error?.remedy}
          <Undone operation={operation} />
        </Box>
      );
    case 'cancelled':
      return (
        <Box icon={<IconPlayerStop color="var(--state-stopped)" />} title="Cancelled">
          <Undone operation={operation} />
        </Box>
      );
    case 'stale':
      return (
        <Box
          icon={<IconAlertTriangle color="var(--state-attention)" />}
          title="Things changed since you saw the preview, so nothing was done"
        >
          <Text size="sm" mb="xs">
            This is what would happen now. Go on with it, or leave it.
          </Text>
          {operation.plan ? <PlanSummary plan={operation.plan} /> : null}
        </Box>
      );
  }
}

function Box({ icon, title, children }: { icon: ReactNode; title: string; children?: ReactNode }) {
  return (
    <Alert variant="outline" color="gray" icon={icon} title={title}>
      {children}
    </Alert>
  );
}

function Queued({ operation }: { operation: OperationView }) {
  const trpc = useTRPC();
  const { data } = useQuery({
    ...trpc.operation.ahead.queryOptions({ id: operation.id }),
    refetchInterval: 5000,
  });
  const ahead = data ? data.queued + data.running : undefined;
  const words =
    ahead === undefined || ahead === 0
      ? `Waiting for a worker of ${operation.host.name}`
      : `Waiting for a free lane on ${operation.host.name} (${ahead} ahead)`;
  return (
    <Box icon={<IconClock color="var(--state-stopped)" />} title={words}>
      {operation.lane === 'bulk'
        ? 'Copies of gigabytes take turns here; starting and stopping guests does not wait for them.'
        : undefined}
    </Box>
  );
}

function Finished({ operation }: { operation: OperationView }) {
  const { result } = operation;
  const facts: ReactNode[] = [];
  if (result?.address !== undefined)
    facts.push(
      <>
        Address <Copyable value={result.address} />
      </>,
    );
  if (result?.agentMs !== undefined)
    facts.push(
      result.strategy === 'memory'
        ? `Its agent answered ${result.agentMs} ms after it went on`
        : `Its agent answered ${formatDuration(result.agentMs / 1000)} after the start`,
    );
  if (result?.consistencyNote !== undefined) facts.push(sentence(result.consistencyNote));
  else if (result?.consistency !== undefined)
    facts.push(
      result.consistency === 'exact' && operation.source?.type === 'template'
        ? 'Exact: block for block as the template is stored'
        : consistencyWords[result.consistency],
    );
  if (result?.movedBytes !== undefined || result?.storedBytes !== undefined)
    facts.push(
      `Moved ${formatBytes(result.movedBytes ?? 0)}, stores ${formatBytes(result.storedBytes ?? 0)}`,
    );
  if (result?.exported !== undefined) facts.push(...exportFacts(result.exported, operation.host.name));
  if (result?.pauseMs !== undefined && operation.kind === 'migrate')
    facts.push(`It stood still for ${result.pauseMs} ms and ran on there`);
  if (result?.transfer !== undefined) facts.push(...transferFacts(result.transfer));
  if (result?.verified !== undefined) facts.push(...verificationWords(result.verified));
  const { identity } = result ?? {};
  if (identity !== undefined) facts.push(...identityFacts(identity));
  // It is made, but something is wrong with who it is.
  const doubtful = identity?.verdict === 'mismatch' || identity?.verdict === 'silent';
  return (
    <Box
      icon={
        doubtful ? (
          <IconAlertTriangle color="var(--state-attention)" />
        ) : (
          <IconCircleCheck color="var(--state-good)" />
        )
      }
      title={finishedTitle(operation)}
    >
      {facts.length === 0 ? null : (
        <List size="sm" spacing={2}>
          {facts.map((fact, index) => (
            <List.Item key={index}>{fact}</List.Item>
          ))}
        </List>
      )}
    </Box>
  );
}

function identityFacts(identity: IdentityOutcome): string[] {
  const remedy = verdictRemedy(identity);
  return [
    `${givenWords(identity.way, 'Its identity was given')} ${verdictWords(identity)}.`,
    ...identity.problems,
    ...(remedy === undefined ? [] : [remedy]),
  ];
}

const consistencyWords = {
  exact: 'Exact: the source was stopped',
  filesystem: 'Filesystem-consistent: the source’s filesystems were frozen for a moment',
  crash: 'Crash-consistent: as if the source had lost power at that moment',
} as const;

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function finishedTitle({ kind, guest, title, result }: OperationView): string {
  const name = guest?.name ?? title;
  switch (kind) {
    case 'clone':
      return guest?.state === 'running' ? `${name} is running` : `${name} is ready`;
    case 'start':
      return `${name} is running`;
    case 'stop':
      return `${name} is stopped`;
    case 'delete':
      return `${name} is deleted`;
    case 'capture':
      return result?.base?.memory ? 'Its memory and disks are stored' : 'Its disks are stored';
    case 'import':
      return 'The template is ready to clone';
    case 'transfer':
      return `${title} is on this host`;
    case 'export':
      return `${title} is exported`;
    case 'migrate':
      return `${name} is on its new host`;
    case 'snapshot':
      return result?.snapshot ? `Snapshot “${result.snapshot.name}” is taken` : 'The snapshot is taken';
    case 'revert':
      return `${name} is back at its snapshot`;
    case 'remove-snapshot':
      return 'The snapshot is removed';
    case 'promote':
      return `${name} has disks of its own now`;
    case 'reset':
      return `${name} is as it was when it was cloned`;
    case 'refresh':
      return `${name} is up to date with its source`;
    case 'restore':
      return `${name} is put back`;
    case 'remove-base':
      return isHiddenBase({ kind, title })
        ? 'Nothing stood on the base any more, so it is gone'
        : 'The version is deleted';
    case 'verify':
      return result?.verified ? verdict(result.verified) : 'Compared';
  }
}

function Undone({ operation: { undo } }: { operation: OperationView }) {
  if (!undo) return null;
  const { undone, leftBehind } = undo;
  return (
    <Stack gap={4} mt="xs">
      {leftBehind.length > 0 ? (
        <>
          <Text size="sm" fw={600}>
            {count(leftBehind.length, 'thing')} could not be undone and{' '}
            {leftBehind.length === 1 ? 'is' : 'are'} still there:
          </Text>
          <List size="sm">
            {leftBehind.map((line) => (
              <List.Item key={line}>{line}</List.Item>
            ))}
          </List>
        </>
      ) : null}
      {undone.length > 0 ? (
        <>
          <Text size="sm" fw={600}>
            Undone:
          </Text>
          <List size="sm">
            {undone.map((line) => (
              <List.Item key={line}>{line}</List.Item>
            ))}
          </List>
        </>
      ) : leftBehind.length === 0 ? (
        <Text size="sm">It had changed nothing, so nothing had to be undone.</Text>
      ) : null}
    </Stack>
  );
}
