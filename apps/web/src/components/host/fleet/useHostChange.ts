import { useQueryClient } from '@tanstack/react-query';
import { useTRPC } from '../../../lib/trpc.ts';

/** Reads hosts again after a change, then calls back. */
export function useHostChange(onDone: () => void): () => Promise<void> {
  const trpc = useTRPC();
  const client = useQueryClient();
  return async () => {
    await client.invalidateQueries(trpc.host.pathFilter());
    onDone();
  };
}
