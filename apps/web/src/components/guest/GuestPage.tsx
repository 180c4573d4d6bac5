'use client';

import { Button, Grid, Group, Stack, Text } from '@mantine/core';
import {
  IconCopyPlus,
  IconPlayerPlay,
  IconPlayerStop,
  IconRefresh,
  IconStack2,
  IconTrash,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { operationTitle } from '../../lib/operation.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Empty, Facts, FailedPage, PageTitle, Problem, Section, SkeletonRows } from '../display/Blocks.tsx';
import { GuestStateLabel } from '../display/State.tsx';
import { Ago, Copyable, Quiet, Simulated } from '../display/Text.tsx';
import { IdentityAlarms, useAlarms } from '../identity/Alarms.tsx';
import { IdentityCard } from '../identity/IdentityCard.tsx';
import { OperationList } from '../operation/OperationList.tsx';
import { ActionDialog, type Action } from './actions.tsx';
import { MoreActions } from './MoreActions.tsx';
import { Disks } from './Disks.tsx';
import { Drift } from './Drift.tsx';
import { Marks } from './Marks.tsx';
import { modeWord } from './GuestTable.tsx';
import { Outside } from './Outside.tsx';
import { Snapshots } from './Snapshots.tsx';
import { SourceLink } from './SourceLink.tsx';
import { States } from './States.tsx';
import { Verified } from './Verified.tsx';

/** One guest: how to get in, what it is, where it came from. */
export function GuestPage({ id }: { id: string }) {
  const trpc = useTRPC();
  const { data: guest, error, refetch } = useQuery(trpc.guest.get.queryOptions({ id }));
  const [action, setAction] = useState<Action | null>(null);
  const alarms = useAlarms();
  if (error && !guest)
    return (
      <FailedPage
        title="Guest"
        error={error}
        retry={() => void refetch()}
        list={{ href: '/guests', label: 'All guests' }}
      />
    );
  if (!guest || alarms.isPending)
    return (
      <>
        <PageTitle title="Guest" />
        <SkeletonRows rows={6} height={36} />
      </>
    );
  return (
    <>
      <title>{`${guest.name} · Offshoot`}</title>
      <PageTitle
        title={guest.name}
        aside={
          <Group gap="sm">
            <Text component="span">
              <GuestStateLabel state={guest.state} />
            </Text>
            {guest.host.simulated ? <Simulated /> : null}
            <Text component="span" size="sm">
              <Marks guest={{ ...guest, changes: [] }} />
            </Text>
          </Group>
        }
      >
        <Buttons guest={guest} onAction={setAction} />
      </PageTitle>
      <Stack gap="md" mb="xl">
        {guest.state === 'missing' ? (
          <Problem
            error={{
              code: 'source-missing',
              message: `${guest.host.name} does not know this guest any more.`,
              remedy: guest.managed
                ? 'Someone removed it there by hand. Delete it here to forget it.'
                : 'Someone removed it there by hand.',
              retryable: false,
            }}
          />
        ) : null}
        {guest.busy ? (
          <Text size="sm">
            It is being worked on, so most buttons wait:{' '}
            <Link href={`/operations/${guest.busy.id}`}>
              {operationTitle({ kind: guest.busy.kind, title: guest.name })}
            </Link>
          </Text>
        ) : null}
        <Outside guest={guest} />
        <IdentityAlarms guestId={guest.id} />
        <Grid gap="md">
          <Grid.Col span={{ base: 12, md: 6 }}>
            <Identity guest={guest} />
          </Grid.Col>
          <Grid.Col span={{ base: 12, md: 6 }}>
            <Size guest={guest} />
          </Grid.Col>
        </Grid>
      </Stack>
      <IdentityCard guest={guest} />
      <Disks guest={guest} />
      <Drift guest={guest} />
      <States guest={guest} />
      <Verified guest={guest} onVerify={() => setAction('verify')} />
      <Snapshots guest={guest} />
      <Clones guest={guest} />
      <Section title="Operations">
        <OperationList
          filter={{ guestId: id, limit: 10 }}
          empty={
            <Empty title="Nothing was done with it yet">
              What is done to it shows here; clones made of it are guests of their own.
            </Empty>
          }
        />
      </Section>
      <ActionDialog action={action} guests={[guest]} onDone={() => setAction(null)} />
    </>
  );
}

function Buttons({ guest, onAction }: { guest: GuestView; onAction: (action: Action) => void }) {
  const busy = guest.busy !== null;
  const running = guest.state === 'running' || guest.state === 'paused';
  return (
    <>
      {running ? (
        <Button
          size="sm"
          variant="default"
          disabled={busy}
          leftSection={<IconPlayerStop size={16} aria-hidden />}
          onClick={() => onAction('stop')}
        >
          Stop
        </Button>
      ) : (
        <Button
          size="sm"
          variant="default"
          disabled={busy || guest.state !== 'stopped'}
          leftSection={<IconPlayerPlay size={16} aria-hidden />}
          onClick={() => onAction('start')}
        >
          Start
        </Button>
      )}
      {guest.mode === 'full' && guest.source?.type === 'guest' ? (
        <Button
          size="sm"
          variant="default"
          disabled={busy || guest.state !== 'stopped'}
          title={guest.state === 'stopped' ? undefined : 'Its disks are replaced only while it is stopped.'}
          leftSection={<IconRefresh size={16} aria-hidden />}
          onClick={() => onAction('refresh')}
        >
          Refresh
        </Button>
      ) : null}
      <Button
        size="sm"
        variant="default"
        disabled={busy || guest.state === 'missing'}
        leftSection={<IconStack2 size={16} aria-hidden />}
        onClick={() => onAction('capture')}
      >
        Make template
      </Button>
      <MoreActions guest={guest} onAction={onAction} />
      <Button
        size="sm"
        variant="default"
        disabled={busy || !guest.managed}
        title={
          guest.managed ? undefined : 'Offshoot did not make it, so it does not delete it. Adopt it first.'
        }
        leftSection={<IconTrash size={16} aria-hidden />}
        onClick={() => onAction('delete')}
      >
        Delete
      </Button>
      <Button
        size="sm"
        component={Link}
        href={`/clone?source=guest:${guest.id}`}
        leftSection={<IconCopyPlus size={16} aria-hidden />}
      >
        Clone this
      </Button>
    </>
  );
}

function Identity({ guest }: { guest: GuestView }) {
  return (
    <Facts
      facts={[
        [
          'Address',
          guest.address === null ? (
            <Quiet key="a">{guest.state === 'running' ? 'not known yet' : 'none while it is stopped'}</Quiet>
          ) : (
            <Copyable key="a" value={guest.address} />
          ),
        ],
        ['Name', <Copyable key="n" value={guest.name} />],
        [
          'UUID',
          guest.uuid === null ? (
            <Quiet key="u">not decided yet</Quiet>
          ) : (
            <Copyable key="u" value={guest.uuid} />
          ),
        ],
        [
          'MAC',
          guest.macs.length === 0 ? (
            <Quiet key="m">–</Quiet>
          ) : (
            <Stack key="m" gap={2}>
              {guest.macs.map((mac) => (
                <Copyable key={mac} value={mac} />
              ))}
            </Stack>
          ),
        ],
        ['Owner', guest.owner?.name ?? 'nobody'],
      ]}
    />
  );
}

function Size({ guest }: { guest: GuestView }) {
  return (
    <Facts
      facts={[
        [
          'Host',
          <Link key="h" href={`/hosts/${guest.host.id}`}>
            {guest.host.name}
          </Link>,
        ],
        [
          'Source',
          <span key="s">
            <SourceLink source={guest.source} />{' '}
            {guest.mode === null
              ? ''
              : guest.mode === 'memory'
                ? '· clone with memory'
                : `· ${modeWord(guest).toLowerCase()} clone`}
            {guest.mode === null && guest.clones === 0 ? null : (
              <>
                {' · '}
                <Link href={`/lineage?guest=${guest.id}`}>lineage</Link>
              </>
            )}
          </span>,
        ],
        ['Processors', guest.vcpus === null ? '–' : String(guest.vcpus)],
        ['Memory', guest.memoryBytes === null ? '–' : formatBytes(guest.memoryBytes)],
        [
          'Uses',
          <span key="b" className="num">
            {guest.usedBytes === null
              ? '–'
              : `${formatBytes(guest.usedBytes)} of ${formatBytes(guest.virtualBytes ?? 0)}`}
          </span>,
        ],
        ['Made', <Ago key="c" at={guest.createdAt} />],
      ]}
    />
  );
}

function Clones({ guest }: { guest: GuestView }) {
  const trpc = useTRPC();
  const { data = [] } = useQuery(trpc.guest.clones.queryOptions({ id: guest.id }));
  if (data.length === 0) return null;
  return (
    <Section title={`Cloned from it (${guest.clones})`}>
      <Group className="panel" p="sm" gap="md">
        {data.map((clone) => (
          <Text key={clone.id} size="sm">
            <Link href={`/guests/${clone.id}`}>{clone.name}</Link> <Quiet>{clone.mode ?? ''}</Quiet>
          </Text>
        ))}
      </Group>
    </Section>
  );
}
