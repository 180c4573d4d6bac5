import { Center, Group, Paper, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { Mark } from '../shell/Mark.tsx';

export function SignInFrame({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Center component="main" mih="100dvh" p="md">
      <Paper w="100%" maw={360} p="lg" radius="md" className="panel">
        <Group gap="sm" mb="lg">
          <Mark size={28} />
          <Title order={1}>{title}</Title>
        </Group>
        {children}
      </Paper>
    </Center>
  );
}
