'use client';

import { Problem } from '../../components/display/Blocks.tsx';

export default function PageError({ reset }: { error: Error; reset: () => void }) {
  return (
    <Problem
      title="This page broke"
      error={{
        code: 'internal',
        message: 'The portal could not show it. What runs goes on.',
        retryable: true,
      }}
      retry={reset}
    />
  );
}
