'use client';

import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { useTRPC } from '../../lib/trpc.ts';

/** "2 need a look", with the way to them; nothing when none does. */
export function ToLookAt({ before = '' }: { before?: string }) {
  const trpc = useTRPC();
  const { data = 0 } = useQuery({ ...trpc.guest.toLookAt.queryOptions(), refetchInterval: 30_000 });
  if (data === 0) return null;
  return (
    <>
      {before}
      <Link href="/guests?look=1">
        {data} {data === 1 ? 'needs' : 'need'} a look
      </Link>
    </>
  );
}
