'use client';

import { Grid, Group, SimpleGrid, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { formatBytes, formatRate } from '../../lib/format.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { HostView } from '../../server/views/host.ts';
import { Empty, Facts, FailedPage, PageTitle, Problem, Section, SkeletonRows } from '../display/Blocks.tsx';
import { HostStateLabel } from '../display/State.tsx';
import { Ago, Copyable, Simulated } from '../display/Text.tsx';
import { OperationList } from '../operation/OperationList.tsx';
import { DutyNote, Reached, workerVersionWords } from './fleet/DutyNote.tsx';
import { HostActions } from './fleet/HostActions.tsx';
import { HealthSection } from './HealthSection.tsx';
import { HostBases } from './HostBases.tsx';
import { HostGuests } from './HostGuests.tsx';
import { HostLanes } from './HostLanes.tsx';
import { acceleratorWords, fillsOf, Meter } from './Meter.tsx';
import { TransferList, useTransfers } from './Transfers.tsx';

/** One host: is it well, what can it do, what does it do now? */
export function HostPage({ id }: { id: string }) {
  const trpc = useTRPC();
  const {
    data: host,
    error,
    refetch,
  } = useQuery({ ...trpc.host.get.queryOptions({ id }), refetchInterval: 15_000 });
  if (error && !host)
    return (
      <FailedPage
        title="Host"
        error={error}
        retry={() => void refetch()}
        list={{ href: '/hosts', label: 'All hosts' }}
      />
    );
  if (!host)
    return (
      <>
        <PageTitle title="Host" />
        <SkeletonRows rows={6} height={36} />
      </>
    );
  return (
    <>
      <title>{`${host.name} · Offshoot`}</title>
      <PageTitle
        title={host.name}
        aside={
          <Group gap="sm">
            <Text component="span">
              <HostStateLabel state={host.state} />
            </Text>
            {host.simulated ? <Simulated /> : null}
          </Group>
        }
      >
        <HostActions host={host} />
      </PageTitle>
      <Stack gap="md" mb="xl">
        <DutyNote host={host} />
        {host.problem === null ? null : (
          <Problem error={{ code: 'host-unreachable', message: host.problem, retryable: false }} />
        )}
        {host.state === 'silent' ? (
          <Problem
            error={{
              code: 'host-unreachable',
              message: 'Its worker is not heard from. Operations on this host wait.',
              remedy: 'Start the worker on that machine, or look at its log.',
              retryable: false,
            }}
          />
        ) : null}
        <SimpleGrid cols={{ base: 1, sm: 3 }} spacing="xl">
          {(fillsOf(host) ?? []).map((fill) => (
            <Meter key={fill.name} fill={fill} />
          ))}
        </SimpleGrid>
        <Grid gap="md">
          <Grid.Col span={{ base: 12, md: 6 }}>
            <Machine host={host} />
          </Grid.Col>
          <Grid.Col span={{ base: 12, md: 6 }}>
            <Store host={host} />
          </Grid.Col>
        </Grid>
        <HostLanes hostId={host.id} />
      </Stack>
      <OnItsWay hostId={host.id} />
      <HealthSection host={host} />
      <HostBases host={host} />
      <HostGuests host={host} />
      <Section title="Operations">
        <OperationList
          filter={{ hostId: id, limit: 10 }}
          empty={<Empty title="Nothing was done here yet">Operations on this host’s guests show here.</Empty>}
        />
      </Section>
    </>
  );
}

function Machine({ host }: { host: HostView }) {
  const { facts } = host;
  return (
    <Facts
      facts={[
        ['Hypervisor', facts?.hypervisor ?? host.kind],
        [
          'Accelerator',
          facts ? (
            <span key="a">
              {acceleratorWords(facts)}
              <br />
              <Text span size="xs" c="dimmed">
                {facts.accelerator.detail} · <Ago at={facts.accelerator.provenAt} />
              </Text>
            </span>
          ) : (
            '–'
          ),
        ],
        [
          'Load',
          facts ? (
            <span key="l">
              {facts.load1.toFixed(2)} on {facts.cpus} processors, {host.guests.vcpus} given to guests that
              run
            </span>
          ) : (
            '–'
          ),
        ],
        [
          'Guests',
          <Link key="g" href={`/guests?host=${host.id}`}>
            {host.guests.total}, {host.guests.running} running
          </Link>,
        ],
        ['Worker', workerVersionWords(host)],
        ...(host.via === null ? [] : [['Reached', <Reached key="r" via={host.via} />] as const]),
        ['Heard from', <Ago key="s" at={host.lastSeenAt} />],
      ]}
    />
  );
}

function Store({ host }: { host: HostView }) {
  const { facts, guests } = host;
  return (
    <Facts
      facts={[
        ['Store', facts ? <Copyable key="p" value={facts.store.path} /> : '–'],
        [
          'Filesystem',
          facts
            ? `${facts.store.filesystem}${facts.store.reflink ? ': full clones in an instant (reflink)' : ': full clones are copied'}`
            : '–',
        ],
        ['Copies at', facts?.copyRate === undefined ? 'not measured yet' : formatRate(facts.copyRate)],
        [
          'Could grow',
          <span key="g">by {formatBytes(guests.growBytes)}, if its guests fill their disks</span>,
        ],
        [
          'Networks',
          facts
            ? facts.networks.map(({ name, active }) => (active ? name : `${name} (not active)`)).join(', ') ||
              'none'
            : '–',
        ],
      ]}
    />
  );
}

function OnItsWay({ hostId }: { hostId: string }) {
  const { data } = useTransfers(hostId);
  if (!data || data.transfers.length === 0) return null;
  return (
    <Section title={`On its way (${data.transfers.length})`}>
      <TransferList transfers={data.transfers} />
    </Section>
  );
}
