'use client';

import { PageTitle, Problem } from '../../components/display/Blocks.tsx';

export default function PageError({ reset }: { error: Error; reset: () => void }) {
  return (
    <>
      <PageTitle title="This page broke" />
      <Problem
        error={{
          code: 'internal',
          message: 'The portal could not show it. Guests and running operations go on.',
          retryable: true,
        }}
        retry={reset}
      />
    </>
  );
}
