'use client';

import { Box, Center } from '@mantine/core';
import { PageTitle, Problem } from '../components/display/Blocks.tsx';

/** When not even what is around the pages can be made: the database does not answer, say. */
export default function PortalError({ reset }: { error: Error; reset: () => void }) {
  return (
    <Center component="main" mih="60dvh" p="md">
      <Box maw={480} w="100%">
        <PageTitle title="The portal can’t answer" />
        <Problem
          error={{
            code: 'internal',
            message: 'It could not read what it needs. Guests and running operations go on.',
            remedy: 'Try again in a minute. If it stays like this, tell whoever runs the portal.',
            retryable: true,
          }}
          retry={reset}
        />
      </Box>
    </Center>
  );
}
