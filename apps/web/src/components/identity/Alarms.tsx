'use client';

import { Alert, Box, List, Stack, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { groupAlarms, type AlarmGroup } from '../../lib/identity.ts';
import { useTRPC } from '../../lib/trpc.ts';
import { Ago, Copyable, Quiet } from '../display/Text.tsx';

/** Most guests that an alarm names before it counts the rest. */
const NAMED = 8;
/** Most alarms that are shown at once. */
const SHOWN = 5;

/** Pages that begin with alarms ask for them with everything else, so that nothing moves down when they come. */
export function useAlarms() {
  const trpc = useTRPC();
  return useQuery({ ...trpc.identity.alarms.queryOptions(), refetchInterval: 60_000 });
}

/**
 * Guests that share what must be unique, and what to do; nothing when there are none. `guestId`: only those of this guest,
 * with everything at once; a page about something else gets what it means on demand.
 */
export function IdentityAlarms({ guestId }: { guestId?: string }) {
  const { data, error } = useAlarms();
  if (error && !data)
    return (
      <Text size="sm" c="dimmed" mb="md" aria-live="polite">
        Whether guests share an identity can’t be read right now.
      </Text>
    );
  const groups = groupAlarms(data ?? []).filter(
    (group) => guestId === undefined || group.guests.some((guest) => guest.id === guestId),
  );
  if (groups.length === 0) return null;
  return (
    <Stack gap="sm" mb="xl" component="section" aria-label="Shared identities">
      {groups.slice(0, SHOWN).map((group) => (
        <Alarm key={group.key} group={group} brief={guestId === undefined} />
      ))}
      {groups.length > SHOWN ? (
        <Text size="sm" c="dimmed">
          And {groups.length - SHOWN} more.
        </Text>
      ) : null}
    </Stack>
  );
}

function Alarm({ group, brief }: { group: AlarmGroup; brief: boolean }) {
  return (
    <Alert
      variant="outline"
      color="gray"
      icon={<IconAlertTriangle color="var(--state-attention)" aria-hidden />}
      title={<Title group={group} />}
    >
      {brief ? (
        <details>
          <summary style={{ cursor: 'pointer', color: 'var(--mantine-color-dimmed)' }}>
            What it means, and what to do
          </summary>
          <Box mt={6}>
            <Lines group={group} />
          </Box>
        </details>
      ) : (
        <Lines group={group} />
      )}
    </Alert>
  );
}

function Lines({ group }: { group: AlarmGroup }) {
  return (
    <>
      <List size="sm" spacing={6} listStyleType="none" styles={{ itemWrapper: { display: 'block' } }}>
        {group.lines.map((line) => (
          <List.Item key={line.field}>
            <Text size="sm">
              {line.harm} <Quiet>{line.remedy}</Quiet>
            </Text>
            <Box fz="sm">
              {line.values.slice(0, 3).map((value) => (
                <Box key={value} mr="md" style={{ display: 'inline-block', maxWidth: '100%' }}>
                  <Copyable value={value} />
                </Box>
              ))}
            </Box>
          </List.Item>
        ))}
      </List>
      <Text size="sm" c="dimmed" mt={4}>
        Seen <Ago at={group.since} />
      </Text>
    </>
  );
}

function Title({ group }: { group: AlarmGroup }) {
  const named = group.guests.slice(0, NAMED);
  const more = group.guests.length - named.length;
  const several = new Set(group.guests.map((guest) => guest.hostId)).size > 1;
  return (
    <>
      {named.map((guest, index) => (
        <span key={guest.id}>
          {index === 0 ? '' : index === named.length - 1 && more === 0 ? ' and ' : ', '}
          <Link href={`/guests/${guest.id}`}>{guest.name}</Link>
          {several ? ` (${guest.hostName})` : ''}
        </span>
      ))}
      {more > 0 ? ` and ${more} more` : ''} have {group.shares}
    </>
  );
}
