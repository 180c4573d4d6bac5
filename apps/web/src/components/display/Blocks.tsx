'use client';

import { Alert, Box, Button, Group, Skeleton, Stack, Text, Title } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import type { PublicError } from '@offshoot/clone-core/contract';
import Link from 'next/link';
import type { ReactNode } from 'react';
import { publicError } from '../../lib/trpc.ts';

/** A page's heading, with what can be done on the page to its right. */
export function PageTitle({
  title,
  aside,
  children,
}: {
  title: ReactNode;
  aside?: ReactNode;
  children?: ReactNode;
}) {
  return (
    <Group justify="space-between" align="center" mb="md" gap="sm">
      <Box style={{ minWidth: 0 }}>
        <Group gap="sm" align="center">
          <Title order={1}>{title}</Title>
          {aside}
        </Group>
      </Box>
      {children === undefined ? null : <Group gap="xs">{children}</Group>}
    </Group>
  );
}

export function Section({
  title,
  aside,
  children,
}: {
  title: string;
  aside?: ReactNode;
  children: ReactNode;
}) {
  return (
    <Box component="section" mb="xl">
      <Group justify="space-between" mb="xs">
        <Title order={2}>{title}</Title>
        {aside}
      </Group>
      {children}
    </Box>
  );
}

/** A page whose thing could not be read: still with a heading, and with a way on from what is not there. */
export function FailedPage({
  title,
  error,
  retry,
  list,
}: {
  title: string;
  error: unknown;
  retry: () => void;
  /** Where the others of its kind are. */
  list: { href: string; label: string };
}) {
  return (
    <>
      <PageTitle title={title} />
      <Stack gap="md" align="flex-start">
        <Box w="100%">
          <Failed error={error} retry={retry} />
        </Box>
        <Link href={list.href} style={{ fontSize: 14 }}>
          {list.label}
        </Link>
      </Stack>
    </>
  );
}

/** A failed call where its answer would have been, with the way to try again. */
export function Failed({ error, retry }: { error: unknown; retry?: () => void }) {
  const shown = publicError(error);
  // What is not there will not be there at the second look either.
  return <Problem error={shown} {...(retry === undefined || shown.code === 'not-found' ? {} : { retry })} />;
}

export function Problem({ error, retry, title }: { error: PublicError; retry?: () => void; title?: string }) {
  return (
    <Alert
      variant="outline"
      color="gray"
      icon={<IconAlertTriangle color="var(--state-failed)" aria-hidden />}
      title={title}
    >
      <Stack gap={6} align="flex-start">
        <Text size="sm">{error.message}</Text>
        {error.remedy === undefined ? null : (
          <Text size="sm" c="dimmed">
            {error.remedy}
          </Text>
        )}
        {retry === undefined ? null : (
          <Button size="xs" variant="default" onClick={retry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** Nothing here yet: the one next thing to do. */
export function Empty({
  title,
  children,
  action,
}: {
  title: string;
  children: ReactNode;
  action?: ReactNode;
}) {
  return (
    <Stack className="panel" align="center" gap={6} py={36} px="md">
      <Text fw={600}>{title}</Text>
      <Text size="sm" c="dimmed" ta="center" maw={440}>
        {children}
      </Text>
      {action === undefined ? null : <Box mt="sm">{action}</Box>}
    </Stack>
  );
}

/** Rows of the size that the real ones will have. */
export function SkeletonRows({ rows, height = 45 }: { rows: number; height?: number }) {
  return (
    <Box className="panel" aria-busy="true" aria-label="Loading">
      {Array.from({ length: rows }, (_, index) => (
        <Box
          key={index}
          px={14}
          h={height}
          style={{
            display: 'flex',
            alignItems: 'center',
            borderBottom: index === rows - 1 ? 0 : '1px solid var(--line)',
          }}
        >
          <Skeleton h={12} w={`${72 - ((index * 13) % 34)}%`} />
        </Box>
      ))}
    </Box>
  );
}

/** Name and value pairs. */
export function Facts({ facts }: { facts: readonly (readonly [string, ReactNode])[] }) {
  return (
    <Box component="dl" className="panel" m={0} px={14} py={6}>
      {facts.map(([name, value]) => (
        <Box
          key={name}
          style={{
            display: 'grid',
            gridTemplateColumns: 'minmax(96px, min(150px, 28%)) minmax(0, 1fr)',
            gap: 12,
            padding: '5px 0',
          }}
        >
          <Text component="dt" size="sm" c="dimmed">
            {name}
          </Text>
          <Text component="dd" size="sm" m={0} miw={0} style={{ overflowWrap: 'anywhere' }}>
            {value}
          </Text>
        </Box>
      ))}
    </Box>
  );
}
