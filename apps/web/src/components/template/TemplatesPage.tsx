'use client';

import { Button, Group, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconUpload } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { useSearchParams } from 'next/navigation';
import { count, formatBytes } from '../../lib/format.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { TemplateView } from '../../server/views/template.ts';
import { Empty, Failed, PageTitle, SkeletonRows } from '../display/Blocks.tsx';
import { Ago } from '../display/Text.tsx';
import { ImportDialog } from './ImportDialog.tsx';
import classes from './row.module.css';

/** What can I clone from? */
export function TemplatesPage() {
  const trpc = useTRPC();
  const wanted = useSearchParams().has('import');
  const [importing, { open, close }] = useDisclosure(wanted);
  const { data, error, refetch } = useQuery(trpc.template.list.queryOptions());
  const importButton = (
    <Button size="sm" variant="default" leftSection={<IconUpload size={16} aria-hidden />} onClick={open}>
      Import an image
    </Button>
  );
  return (
    <>
      <PageTitle title="Templates">{importButton}</PageTitle>
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : !data ? (
        <SkeletonRows rows={4} height={62} />
      ) : data.length === 0 ? (
        <Empty title="No templates yet" action={importButton}>
          A template is an image to clone from, kept unchanged. Import a qcow2, raw, VMDK, VHDX or OVA file
          from a host, or make one from a guest.
        </Empty>
      ) : (
        <div className="panel">
          {data.map((template) => (
            <Row key={template.id} template={template} />
          ))}
        </div>
      )}
      {importing ? <ImportDialog onClose={close} /> : null}
    </>
  );
}

function Row({ template }: { template: TemplateView }) {
  const newest = template.versions[0];
  const guests = template.versions.reduce((sum, version) => sum + version.guests, 0);
  return (
    <div className={`row ${classes['row'] ?? ''}`}>
      <div style={{ minWidth: 0 }}>
        <Link className="thing" href={`/templates/${template.id}`}>
          {template.name}
        </Link>
        <Text size="xs" c="dimmed" truncate>
          {[newest ? `v${newest.number}` : 'no version', template.osName, template.description]
            .filter(Boolean)
            .join(' · ')}
        </Text>
      </div>
      <Text size="sm" c="dimmed" className="num" visibleFrom="sm">
        {newest ? `${formatBytes(newest.allocatedBytes)} of ${formatBytes(newest.virtualBytes)}` : ''}
      </Text>
      <Text size="sm" c="dimmed" className="num" visibleFrom="sm">
        {count(guests, 'linked clone')}
      </Text>
      <Text size="sm" c="dimmed" visibleFrom="sm" ta="right">
        {newest ? <Ago at={newest.createdAt} /> : null}
      </Text>
      <Group justify="flex-end">
        {newest ? (
          <Button
            component={Link}
            href={`/clone?source=template:${newest.id}`}
            size="xs"
            variant="default"
            aria-label={`Clone ${template.name}`}
          >
            Clone
          </Button>
        ) : null}
      </Group>
    </div>
  );
}
