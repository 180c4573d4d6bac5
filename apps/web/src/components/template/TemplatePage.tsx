'use client';

import { Box, Button, Group, Modal, Text, Title } from '@mantine/core';
import {
  IconBinaryTree2,
  IconArrowsSplit2,
  IconCopyPlus,
  IconPackageExport,
  IconTrash,
} from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import Link from 'next/link';
import { useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { TemplateVersionView } from '../../server/views/template.ts';
import { Empty, Facts, FailedPage, PageTitle, Problem, Section, SkeletonRows } from '../display/Blocks.tsx';
import { Ago, Copyable } from '../display/Text.tsx';
import { ExportForm } from '../guest/ExportForm.tsx';
import { BringDialog } from '../host/BringDialog.tsx';
import { InsideReport, type Cleaning } from '../identity/InsideReport.tsx';
import { DeleteVersion } from './DeleteVersion.tsx';

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
  const [exported, setExported] = useState<TemplateVersionView | null>(null);
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
            onExport={() => setExported(version)}
          />
        ))
      )}
      {brought ? <BringDialog versionId={brought.id} onClose={() => setBrought(null)} /> : null}
      <Modal
        opened={exported !== null}
        onClose={() => setExported(null)}
        title={`Export ${template.name} v${exported?.number ?? ''}?`}
        centered
        radius="md"
      >
        {exported ? (
          <ExportForm
            source={{ type: 'template', versionId: exported.id }}
            onDone={() => setExported(null)}
          />
        ) : null}
      </Modal>
      {doomed ? <DeleteVersion template={template} version={doomed} onClose={() => setDoomed(null)} /> : null}
    </>
  );
}

function Version({
  version,
  cleaning,
  onDelete,
  onBring,
  onExport,
}: {
  version: TemplateVersionView;
  cleaning: Cleaning;
  onDelete: () => void;
  onBring: () => void;
  onExport: () => void;
}) {
  const spread = useSpread(version);
  return (
    <Section
      title={`Version ${version.number}`}
      aside={
        <Group gap="xs">
          <Button
            size="xs"
            variant="default"
            leftSection={<IconPackageExport size={14} aria-hidden />}
            onClick={onExport}
            aria-label={`Export version ${version.number}`}
          >
            Export
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
            leftSection={<IconTrash size={14} aria-hidden />}
            onClick={onDelete}
            aria-label={`Delete version ${version.number}`}
          >
            Delete
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
          ...spread,
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

/** Things by name, as links, and how many of `total` are not among them. */
function Links({ things, total }: { things: readonly { href: string; name: string }[]; total: number }) {
  return (
    <>
      {things.map(({ href, name }, index) => (
        <span key={href}>
          {index > 0 ? ', ' : ''}
          <Link href={href}>{name}</Link>
        </span>
      ))}
      {total > things.length ? ` and ${total - things.length} more` : ''}
    </>
  );
}

/** Who stands on it, and which hosts have it. */
function useSpread({ digest, hosts, guests, hostId, hostName }: TemplateVersionView) {
  const trpc = useTRPC();
  const { data } = useQuery({
    ...trpc.template.spread.queryOptions({ digest }),
    // One host and no guest: all of it is known.
    enabled: guests > 0 || hosts > 1,
  });
  return [
    [
      'Guests on it',
      guests === 0 ? (
        'none'
      ) : (
        <span key="c">
          {guests}
          {data ? ': ' : ''}
          <Links
            things={(data?.guests ?? []).map(({ id, name }) => ({ href: `/guests/${id}`, name }))}
            total={data ? guests : 0}
          />
        </span>
      ),
    ],
    [
      hosts > 1 ? 'Hosts' : 'Host',
      <Links
        key="h"
        things={(data?.hosts ?? [{ id: hostId, name: hostName }]).map(({ id, name }) => ({
          href: `/hosts/${id}`,
          name,
        }))}
        total={data ? hosts : 0}
      />,
    ],
  ] as const;
}
