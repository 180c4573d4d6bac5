'use client';

import { Button, Group, Modal, Stack, Table, Text, VisuallyHidden } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import Link from 'next/link';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { count, formatBytes } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { HeldBase } from '../../server/hosts/bases.ts';
import type { HostView } from '../../server/views/host.ts';
import { Empty, Failed, Problem, Section, SkeletonRows } from '../display/Blocks.tsx';
import { Ago, Quiet } from '../display/Text.tsx';
import { BringDialog } from './BringDialog.tsx';

const nameOf = (base: HeldBase): string =>
  base.versions.map(({ label }) => label).join(', ') || `Base ${base.digest.slice(0, 12)}`;

/** Which templates can be cloned here at once. */
export function HostBases({ host }: { host: HostView }) {
  const trpc = useTRPC();
  const { data, error, refetch } = useQuery(trpc.host.bases.queryOptions({ id: host.id }));
  const [bringing, setBringing] = useState(false);
  const [doomed, setDoomed] = useState<HeldBase | null>(null);
  return (
    <Section
      title="Bases"
      aside={
        <Button
          size="xs"
          variant="default"
          leftSection={<IconDownload size={14} aria-hidden />}
          onClick={() => setBringing(true)}
        >
          Bring a template here
        </Button>
      }
    >
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : !data ? (
        <SkeletonRows rows={3} height={41} />
      ) : data.total === 0 ? (
        <Empty title="It holds no base">
          A linked clone stands on its template’s base. It is brought here by itself when one is asked for, or
          before that by the button above.
        </Empty>
      ) : (
        <>
          <div className="panel" style={{ overflowX: 'auto' }}>
            <Table verticalSpacing={8}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>Template</Table.Th>
                  <Table.Th ta="right">Takes</Table.Th>
                  <Table.Th ta="right">Guests on it</Table.Th>
                  <Table.Th ta="right" visibleFrom="sm">
                    Other copies
                  </Table.Th>
                  <Table.Th ta="right" visibleFrom="sm">
                    Since
                  </Table.Th>
                  <Table.Th>
                    <VisuallyHidden>What can be done</VisuallyHidden>
                  </Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {data.bases.map((base) => (
                  <Table.Tr key={base.id}>
                    <Table.Td>
                      <Label base={base} />
                    </Table.Td>
                    <Table.Td ta="right" className="num">
                      {formatBytes(base.bytes)}
                    </Table.Td>
                    <Table.Td ta="right" className="num">
                      {base.standing}
                    </Table.Td>
                    <Table.Td ta="right" className="num" visibleFrom="sm">
                      {base.elsewhere}
                    </Table.Td>
                    <Table.Td ta="right" visibleFrom="sm">
                      <Ago at={base.createdAt} />
                    </Table.Td>
                    <Table.Td ta="right">
                      <Button
                        size="compact-xs"
                        variant="default"
                        onClick={() => setDoomed(base)}
                        aria-label={`Remove ${nameOf(base)} from ${host.name}`}
                      >
                        Remove
                      </Button>
                    </Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
          <Text size="xs" c="dimmed" mt={6} className="num">
            {count(data.total, 'base')}, {formatBytes(data.bytes)}
            {data.total > data.bases.length ? ` · the newest ${data.bases.length} are shown` : ''}
          </Text>
        </>
      )}
      {bringing ? <BringDialog hostId={host.id} onClose={() => setBringing(false)} /> : null}
      {doomed ? <RemoveBase host={host} base={doomed} onClose={() => setDoomed(null)} /> : null}
    </Section>
  );
}

function Label({ base }: { base: HeldBase }) {
  const notes = [
    base.damaged ? 'damaged: nothing is cloned from it' : '',
    base.warm ? 'warm, with memory' : '',
  ].filter(Boolean);
  return (
    <>
      {base.versions.length === 0 ? (
        <span>
          {nameOf(base)} <Quiet>· under clones of a guest</Quiet>
        </span>
      ) : (
        base.versions.map((version, index) => (
          <span key={version.versionId}>
            {index > 0 ? ', ' : ''}
            <Link className="thing" href={`/templates/${version.templateId}`}>
              {version.label}
            </Link>
          </span>
        ))
      )}
      {notes.length === 0 ? null : (
        <Text size="xs" c={base.damaged ? 'var(--state-failed)' : 'dimmed'}>
          {notes.join(' · ')}
        </Text>
      )}
    </>
  );
}

/** Only this host's copy; of the last one the template itself would go. */
function RemoveBase({ host, base, onClose }: { host: HostView; base: HeldBase; onClose: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const remove = useMutation(
    trpc.operation.create.removeBase.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onClose();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
    }),
  );
  const [version] = base.versions;
  const last = base.elsewhere === 0 && version !== undefined;
  const blocked = last || base.standing > 0;
  return (
    <Modal opened onClose={onClose} title={`Remove ${nameOf(base)} from ${host.name}?`} centered radius="md">
      <Stack gap="sm">
        {base.standing > 0 ? (
          <Text size="sm">
            {count(base.standing, 'guest')} here {base.standing === 1 ? 'stands' : 'stand'} on it and{' '}
            {base.standing === 1 ? 'blocks' : 'block'} this.
          </Text>
        ) : last ? (
          <Text size="sm">
            This is the only whole copy. To be rid of it,{' '}
            <Link href={`/templates/${version.templateId}`}>delete {version.label}</Link> itself.
          </Text>
        ) : (
          <Text size="sm">
            It gives {formatBytes(base.bytes)} back.{' '}
            {base.elsewhere === 0
              ? 'No template shows it, and no other host has it.'
              : `${count(base.elsewhere, 'copy', 'copies')} on other hosts ${base.elsewhere === 1 ? 'stays' : 'stay'}: a clone here brings it again.`}
          </Text>
        )}
        {remove.error ? <Problem error={publicError(remove.error)} /> : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Keep it
          </Button>
          <Button
            color="red.9"
            disabled={blocked}
            loading={remove.isPending}
            onClick={() => remove.mutate({ idempotencyKey, baseId: base.id, onlyHere: true })}
          >
            Remove
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
