'use client';

import { MantineProvider } from '@mantine/core';
import { ModalsProvider } from '@mantine/modals';
import { Notifications } from '@mantine/notifications';
import type { ReactNode } from 'react';
import { cssVariables, theme } from './theme.ts';

/** Theme, dialogs and notices, for signed-in and sign-in pages alike. */
export function Look({ nonce, children }: { nonce: string | undefined; children: ReactNode }) {
  return (
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariables}
      defaultColorScheme="auto"
      {...(nonce === undefined ? {} : { getStyleNonce: () => nonce })}
    >
      <ModalsProvider modalProps={{ centered: true, radius: 'md' }}>{children}</ModalsProvider>
      <Notifications position="bottom-right" />
    </MantineProvider>
  );
}
