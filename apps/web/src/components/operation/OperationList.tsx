'use client';

import { Box } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { useTRPC, type Inputs, type Outputs } from '../../lib/trpc.ts';
import { Failed, SkeletonRows } from '../display/Blocks.tsx';
import { OperationRow } from './OperationRow.tsx';

/** Operations, newest first, live. */
export function OperationList({
  filter,
  empty,
  renderFooter,
}: {
  filter: Exclude<Inputs['operation']['list'], void>;
  empty: ReactNode;
  renderFooter?: (page: Pick<Outputs['operation']['list'], 'nextCursor' | 'newerCursor'>) => ReactNode;
}) {
  const trpc = useTRPC();
  const { data, error, refetch } = useQuery({
    ...trpc.operation.list.queryOptions(filter),
    placeholderData: keepPreviousData,
  });
  if (error && !data) return <Failed error={error} retry={() => void refetch()} />;
  if (!data) return <SkeletonRows rows={6} height={58} />;
  if (data.operations.length === 0) return empty;
  return (
    <>
      <Box className="panel">
        {data.operations.map((operation) => (
          <OperationRow key={operation.id} operation={operation} />
        ))}
      </Box>
      {renderFooter?.(data)}
    </>
  );
}
