'use client';

import { Box, Button, Group, Modal, Stack, Text, Title } from '@mantine/core';
import { IconBinaryTree2, IconArrowsSplit2, IconCopyPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import Link from 'next/link';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { TemplateVersionView, TemplateView } from '../../server/views/template.ts';
import { Empty, Facts, FailedPage, PageTitle, Problem, Section, SkeletonRows } from '../display/Blocks.tsx';
import { Ago, Copyable } from '../display/Text.tsx';
import { BringDialog } from '../host/BringDialog.tsx';
import { InsideReport, type Cleaning } from '../identity/InsideReport.tsx';
import { BlastRadius } from '../lineage/BlastRadius.tsx';

/** One template: which versions, how large, who stands on them. */
export function TemplatePage({ id }: { id: string }) {
  const trpc = useTRPC();
  const { data: template, error, refetch } = useQuery(trpc.template.get.queryOptions({ id }));
  const client = useQueryClient();
  const keep = useMutation(
    trpc.template.clean.mutationOptions({
      // Its list is shown on other pages too.
      onSettled: () => client.invalidateQueries(trpc.template.pathFilter()),
    }),
  );
  const [doomed, setDoomed] = useState<TemplateVersionView | null>(null);
  const [brought, setBrought] = useState<TemplateVersionView | null>(null);
  if (error && !template)
    return (
      <FailedPage
        title="Template"
        error={error}
        retry={() => void refetch()}
        list={{ href: '/templates', label: 'All templates' }}
      />
    );
  if (!template)
    return (
      <>
        <PageTitle title="Template" />
        <SkeletonRows rows={6} height={36} />
      </>
    );
  const newest = template.versions[0];
  const cleaning: Cleaning = {
    clean: keep.isPending ? keep.variables.clean : template.clean,
    pending: keep.isPending,
    onChange: (clean) => keep.mutate({ id, clean }),
  };
  return (
    <>
      <title>{`${template.name} · Offshoot`}</title>
      <PageTitle
        title={template.name}
        aside={
          <Text c="dimmed" size="sm">
            {template.osName}
          </Text>
        }
      >
        <Button
          component={Link}
          href={`/lineage?template=${template.id}`}
          size="sm"
          variant="default"
          leftSection={<IconBinaryTree2 size={16} aria-hidden />}
        >
          Lineage
        </Button>
        {newest ? (
          <Button
            component={Link}
            href={`/clone?source=template:${newest.id}`}
            size="sm"
            leftSection={<IconCopyPlus size={16} aria-hidden />}
          >
            Clone v{newest.number}
          </Button>
        ) : null}
      </PageTitle>
      {template.description === '' ? null : <Text mb="md">{template.description}</Text>}
      {keep.error ? (
        <Box mb="md">
          <Problem error={publicError(keep.error)} />
        </Box>
      ) : null}
      {template.versions.length === 0 ? (
        <Empty title="It has no version">Import an image under the same name to add one.</Empty>
      ) : (
        template.versions.map((version) => (
          <Version
            key={version.id}
            version={version}
            cleaning={cleaning}
            onDelete={() => setDoomed(version)}
            onBring={() => setBrought(version)}
          />
        ))
      )}
      {brought ? <BringDialog versionId={brought.id} onClose={() => setBrought(null)} /> : null}
      {doomed ? <DeleteVersion template={template} version={doomed} onClose={() => setDoomed(null)} /> : null}
    </>
  );
}

function Version({
  version,
  cleaning,
  onDelete,
  onBring,
}: {
  version: TemplateVersionView;
  cleaning: Cleaning;
  onDelete: () => void;
  onBring: () => void;
}) {
  return (
    <Section
      title={`Version ${version.number}`}
      aside={
        <Group gap="xs">
          <Button
            size="xs"
            variant="default"
            leftSection={<IconTrash size={14} aria-hidden />}
            onClick={onDelete}
            aria-label={`Delete version ${version.number}`}
          >
            Delete
          </Button>
          <Button
            size="xs"
            variant="default"
            leftSection={<IconArrowsSplit2 size={14} aria-hidden />}
            onClick={onBring}
            aria-label={`Bring version ${version.number} to hosts`}
          >
            Bring to hosts
          </Button>
          <Button
            size="xs"
            variant="default"
            component={Link}
            href={`/clone?source=template:${version.id}`}
            aria-label={`Clone version ${version.number}`}
          >
            Clone
          </Button>
        </Group>
      }
    >
      <Facts
        facts={[
          [
            'Size',
            <span key="s">
              {formatBytes(version.allocatedBytes)} stored, {formatBytes(version.virtualBytes)} as the guest
              sees it
            </span>,
          ],
          [
            'Disks',
            version.disks
              .map((disk) => `${disk.target} (${disk.format}, ${formatBytes(disk.virtualBytes)})`)
              .join(', '),
          ],
          ...(version.memory
            ? [
                [
                  'Memory',
                  <span key="w">
                    Warm: {formatBytes(version.memory.memoryBytes)}, {formatBytes(version.memory.bytes)}{' '}
                    stored. Clones with memory go on where it was <Ago at={version.memory.takenAt} />.
                  </span>,
                ] as const,
              ]
            : []),
          ['Guests on it', <Children key="c" version={version} />],
          [
            'Host',
            <Link key="h" href={`/hosts/${version.hostId}`}>
              {version.hostName}
            </Link>,
          ],
          ['Made', <Ago key="m" at={version.createdAt} />],
          [
            'Digest',
            <Copyable
              key="d"
              value={`sha256:${version.digest}`}
              shown={`sha256:${version.digest.slice(0, 12)}…`}
            />,
          ],
        ]}
      />
      <Title order={3} mt="sm" mb="xs" fz="sm">
        What is inside
      </Title>
      <InsideReport inside={version.inside} cleaning={cleaning} />
    </Section>
  );
}

function useChildren(version: TemplateVersionView) {
  const trpc = useTRPC();
  return (
    useQuery({
      ...trpc.template.children.queryOptions({ baseId: version.baseId }),
      enabled: version.children > 0,
    }).data ?? []
  );
}

function Children({ version }: { version: TemplateVersionView }) {
  const children = useChildren(version);
  if (version.children === 0) return <>none</>;
  return (
    <>
      {version.children}
      {children.length === 0 ? '' : ': '}
      {children.slice(0, 12).map((guest, index) => (
        <span key={guest.id}>
          {index > 0 ? ', ' : ''}
          <Link href={`/guests/${guest.id}`}>{guest.name}</Link>
        </span>
      ))}
      {children.length > 12 ? ' …' : ''}
    </>
  );
}

function DeleteVersion({
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
      onSuccess: ({ operationIds }) => {
        onClose();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
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
  const blocked = version.children > 0 || blocking > 0 || (users.data?.users ?? null) !== null;
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
            {version.memory ? `and its saved memory (${formatBytes(version.memory.bytes)}) ` : ''}go too. This
            can’t be undone.
          </Text>
        )}
        {(blast?.versions.length ?? 0) > 1 ? (
          <Text size="sm">The same disks are {blast?.versions.join(' and ')}: all of them go.</Text>
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
