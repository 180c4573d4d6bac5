'use client';

import { Box, Skeleton, Stack } from '@mantine/core';
import type { GuestQuestion } from '@offshoot/clone-core/contract';
import { keepPreviousData, skipToken, useQuery } from '@tanstack/react-query';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import { PlanSummary } from '../clone/PlanSummary.tsx';
import { Problem } from '../display/Blocks.tsx';

/**
 * What a change to a guest would do, as its host plans it now; `null` asks nothing. `agreed` is the fingerprint to send
 * along with the click, undefined as long as what is shown answers an earlier question.
 */
export function useGuestPlan(question: GuestQuestion | null) {
  const trpc = useTRPC();
  const preview = useQuery({
    ...trpc.preview.guest.queryOptions(question ?? skipToken),
    placeholderData: keepPreviousData,
    retry: false,
    staleTime: 0,
  });
  const refused = preview.error ? publicError(preview.error) : undefined;
  const plan = refused ? undefined : preview.data?.plan;
  return {
    plan,
    refused,
    agreed: preview.isPlaceholderData ? undefined : plan?.fingerprint,
    isPending: preview.isPending,
    /** Who would do it. */
    hostId: preview.data?.hostId,
    again: () => void preview.refetch(),
  };
}

/** The plan, why there is none, or the place where it will be. `problem`: of the click, told instead of the plan's. */
export function GuestPlan({
  preview: { plan, refused, isPending, again },
  problem,
}: {
  preview: ReturnType<typeof useGuestPlan>;
  problem?: ReturnType<typeof publicError> | undefined;
}) {
  const told = problem ?? refused;
  return (
    <>
      {told ? <Problem error={told} {...(told.retryable ? { retry: again } : {})} /> : null}
      {plan ? (
        <Box component="section" className="panel" p="sm" bg="var(--surface)" aria-label="What will happen">
          <PlanSummary plan={plan} />
        </Box>
      ) : isPending ? (
        <Stack className="panel" p="sm" gap="xs" aria-label="Working out what will happen" aria-busy>
          <Skeleton h={16} w="70%" />
          <Skeleton h={12} w="50%" />
          <Skeleton h={64} />
        </Stack>
      ) : null}
    </>
  );
}
