'use client';

import { Button, Group, Modal, Stack, Text } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { count, formatBytes } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { TemplateVersionView, TemplateView } from '../../server/views/template.ts';
import { Problem } from '../display/Blocks.tsx';
import { BlastRadius } from '../lineage/BlastRadius.tsx';

/** What goes with a version and who stands on it, before the click. */
export function DeleteVersion({
  template,
  version,
  onClose,
}: {
  template: TemplateView;
  version: TemplateVersionView;
  onClose: () => void;
}) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const blast = useQuery(trpc.lineage.blastOfBase.queryOptions({ baseId: version.baseId })).data;
  const remove = useMutation(
    trpc.operation.create.removeBase.mutationOptions({
      onSuccess: ({ batchId, operationIds }) => {
        onClose();
        const [first, ...more] = operationIds;
        // One for each host that has it.
        if (first !== undefined)
          router.push(more.length > 0 ? `/operations/batch/${batchId}` : `/operations/${first}`);
      },
    }),
  );
  const users = useQuery({
    ...trpc.lineage.baseUsers.queryOptions({ baseId: version.baseId }),
    enabled: version.children === 0,
    staleTime: 0,
    retry: false,
  });
  const blocking = (blast?.blocking.length ?? 0) + (blast?.moreBlocking ?? 0);
  const elsewhere = version.guests - version.children;
  const blocked = version.guests > 0 || blocking > 0 || (users.data?.users ?? null) !== null;
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Delete ${template.name} v${version.number}?`}
      centered
      radius="md"
    >
      <Stack gap="sm">
        {blocked ? null : (
          <Text size="sm">
            Its disks ({formatBytes(version.allocatedBytes)}){' '}
            {version.memory ? `and its saved memory (${formatBytes(version.memory.bytes)}) ` : ''}go too
            {version.hosts > 1 ? `, from all ${version.hosts} hosts that have it` : ''}. This can’t be undone.
          </Text>
        )}
        {(blast?.versions.length ?? 0) > 1 ? (
          <Text size="sm">The same disks are {blast?.versions.join(' and ')}: all of them go.</Text>
        ) : null}
        {elsewhere > 0 ? (
          <Text size="sm">
            {count(elsewhere, 'guest')} on other hosts {elsewhere === 1 ? 'stands' : 'stand'} on it and{' '}
            {elsewhere === 1 ? 'blocks' : 'block'} this.
          </Text>
        ) : null}
        {blast ? <BlastRadius blast={blast} what="its disks" /> : null}
        <OnHost users={users} />
        {remove.error ? <Problem error={publicError(remove.error)} /> : null}
        <Group justify="flex-end" mt="md">
          <Button variant="default" onClick={onClose} data-autofocus>
            Keep it
          </Button>
          <Button
            color="red.9"
            disabled={blocked}
            loading={remove.isPending}
            onClick={() => remove.mutate({ idempotencyKey, baseId: version.baseId })}
          >
            Delete
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}

/** What the host itself finds: guests of other tools may stand on the disks too. */
function OnHost({
  users,
}: {
  users: { data?: { users: string | null } | undefined; error: unknown; isLoading: boolean };
}) {
  if (users.isLoading)
    return (
      <Text size="sm" c="dimmed">
        Asking the host who else stands on them…
      </Text>
    );
  if (users.error)
    return (
      <Text size="sm" c="dimmed">
        The host could not be asked who else stands on them: {publicError(users.error).message} It looks again
        before it deletes anything.
      </Text>
    );
  if (users.data === undefined) return null;
  return users.data.users === null ? (
    <Text size="sm" c="dimmed">
      The host has looked: nothing else stands on them.
    </Text>
  ) : (
    <Text size="sm">The host says: {users.data.users}</Text>
  );
}
