import { Anchor, Center, Stack, Text, Title } from '@mantine/core';

export default function NotFound() {
  return (
    <Center component="main" mih="60dvh" p="md">
      <Stack gap={6} align="center">
        <Title order={1}>There is nothing here</Title>
        <Text c="dimmed" size="sm">
          The address is wrong, or what was here is gone.
        </Text>
        <Anchor href="/">Overview</Anchor>
      </Stack>
    </Center>
  );
}
