import { Stack, Text, Title } from '@mantine/core';
import Link from 'next/link';

/** An address without a page, or of something that is gone. */
export function NothingHere() {
  return (
    <Stack gap={6} align="center" pt="15vh" ta="center">
      <Title order={1}>There is nothing here</Title>
      <Text c="dimmed" size="sm">
        The address is wrong, or what was here is gone.
      </Text>
      <Link href="/">Overview</Link>
    </Stack>
  );
}
