'use client';

import { Box, Button, Group, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { count } from '../../lib/format.ts';
import { useTRPC, type Outputs } from '../../lib/trpc.ts';
import { Empty, Failed, PageTitle, Section, SkeletonRows } from '../display/Blocks.tsx';
import { IdentityAlarms, useAlarms } from '../identity/Alarms.tsx';
import { FleetSummary } from '../host/FleetSummary.tsx';
import { ToLookAt } from '../guest/ToLookAt.tsx';
import { HostCard } from '../host/HostCard.tsx';
import { OperationRow } from '../operation/OperationRow.tsx';

type Overview = Outputs['overview']['get'];

/** Is all well, what is happening? */
export function OverviewPage() {
  const trpc = useTRPC();
  const { data, error, refetch } = useQuery({ ...trpc.overview.get.queryOptions(), refetchInterval: 30_000 });
  const alarms = useAlarms();
  if (error && !data) return <Failed error={error} retry={() => void refetch()} />;
  if (!data || alarms.isPending)
    return (
      <>
        <PageTitle title="Overview" />
        <Stack gap="xl">
          <SkeletonRows rows={3} height={58} />
          <SkeletonRows rows={1} height={124} />
        </Stack>
      </>
    );
  const nothingYet = data.recent.length === 0 && data.running.length === 0;
  return (
    <>
      <PageTitle
        title="Overview"
        aside={
          <Text c="dimmed" size="sm">
            {count(data.fleet.guests, 'guest')}, {data.fleet.running} running
            <ToLookAt before=", " />
            {hostsUnwell(data)}
          </Text>
        }
      />
      <IdentityAlarms />
      {nothingYet ? (
        <Box mb="xl">
          <First sample={data.sample} guests={data.fleet.guests} />
        </Box>
      ) : (
        <Section
          title="Now"
          aside={
            data.activeCount > data.running.length ? (
              <Link href="/operations">All {data.activeCount}</Link>
            ) : undefined
          }
        >
          {data.running.length > 0 ? (
            <Box className="panel">
              {data.running.map((operation) => (
                <OperationRow key={operation.id} operation={operation} />
              ))}
            </Box>
          ) : (
            <Group className="panel" px={14} mih={58} justify="space-between">
              <Text size="sm" c="dimmed">
                Nothing is running.
              </Text>
            </Group>
          )}
        </Section>
      )}
      <Section
        title="Hosts"
        aside={
          data.fleet.hosts > data.hosts.length ? (
            <Link href="/hosts" style={{ fontSize: 14 }}>
              All {data.fleet.hosts} hosts
            </Link>
          ) : undefined
        }
      >
        {data.hosts.length === 0 ? (
          <Empty title="No host has reported yet">A host shows here as soon as its worker runs.</Empty>
        ) : (
          <Stack gap="sm">
            {data.fleet.hosts > 1 ? <FleetSummary fleet={data.fleet} /> : null}
            {shownHosts(data).map((host) => (
              <HostCard key={host.id} host={host} />
            ))}
          </Stack>
        )}
      </Section>
      {data.recent.length === 0 ? null : (
        <Section
          title="Recent"
          aside={
            <Link href="/operations" style={{ fontSize: 14 }}>
              All operations
            </Link>
          }
        >
          <Box className="panel">
            {data.recent.map((operation) => (
              <OperationRow key={operation.id} operation={operation} />
            ))}
          </Box>
        </Section>
      )}
    </>
  );
}

/** Of a large fleet only those that need someone: the summary says the rest. */
const shownHosts = ({ fleet, hosts }: Overview): Overview['hosts'] =>
  fleet.hosts > hosts.length ? hosts.filter((host) => host.state !== 'online') : hosts;

function hostsUnwell({ fleet }: Overview): string {
  const unwell = fleet.hosts - fleet.online;
  return unwell === 0 ? '' : ` · ${count(unwell, 'host')} ${unwell === 1 ? 'needs' : 'need'} attention`;
}

function First({ sample, guests }: { sample: Overview['sample']; guests: number }) {
  if (!sample && guests > 0)
    return (
      <Empty
        title="Make your first clone"
        action={
          <Button component={Link} href="/clone">
            New clone
          </Button>
        }
      >
        {count(guests, 'guest was', 'guests were')} found on the hosts. Clone one as it is; it stays
        unchanged.
      </Empty>
    );
  if (!sample) {
    return (
      <Empty
        title="Nothing to clone yet"
        action={
          <Button component={Link} href="/templates?import=1">
            Import an image
          </Button>
        }
      >
        Import a disk image as a template. The sample template appears by itself at the first start.
      </Empty>
    );
  }
  return (
    <Empty
      title="Make your first clone"
      action={
        <Button component={Link} href={`/clone?source=template:${sample.versionId}`}>
          Clone {sample.label}
        </Button>
      }
    >
      The sample template is a small Linux with a guest agent. A linked clone of it runs a few seconds after
      the click.
    </Empty>
  );
}
