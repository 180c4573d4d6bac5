'use client';

import { Button, Group, Modal, MultiSelect, Select, Stack, Text } from '@mantine/core';
import { skipToken, useMutation, useQuery } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { bringSums } from '../../lib/bring.ts';
import { count, formatBytes, formatDuration, formatRate } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { BringChoice, BringPreview } from '../../server/hosts/bring.ts';
import { Failed, Problem, SkeletonRows } from '../display/Blocks.tsx';

/** Brings a template version to hosts: the one or the others are chosen already. */
export function BringDialog({
  versionId,
  hostId,
  onClose,
}: {
  versionId?: string;
  hostId?: string;
  onClose: () => void;
}) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const [version, setVersion] = useState(versionId ?? null);
  const [chosen, setChosen] = useState<string[]>(hostId === undefined ? [] : [hostId]);
  const preview = useQuery({
    ...trpc.host.bring.queryOptions(version === null ? skipToken : { versionId: version }),
    staleTime: 0,
  });
  const bring = useMutation(
    trpc.operation.create.transfer.mutationOptions({
      onSuccess: ({ batchId, operationIds: [only, ...others] }) => {
        onClose();
        if (only !== undefined)
          router.push(others.length === 0 ? `/operations/${only}` : `/operations/batch/${batchId}`);
      },
    }),
  );
  const sums = preview.data && bringSums(preview.data, chosen);
  const ready = version !== null && sums !== undefined && sums.hosts.length > 0;
  return (
    <Modal
      opened
      onClose={onClose}
      title={hostId === undefined ? `Bring ${preview.data?.label ?? 'it'} to hosts` : 'Bring a template here'}
      centered
      radius="md"
    >
      <Stack gap="sm">
        {versionId === undefined ? <VersionField value={version} onChange={setVersion} /> : null}
        {preview.error ? (
          <Failed error={preview.error} retry={() => void preview.refetch()} />
        ) : version !== null && !preview.data ? (
          <SkeletonRows rows={2} height={40} />
        ) : null}
        {preview.data && hostId === undefined ? (
          <HostsField preview={preview.data} value={chosen} onChange={setChosen} />
        ) : null}
        {preview.data && sums ? <What preview={preview.data} chosen={chosen} /> : null}
        {bring.error ? <Problem error={publicError(bring.error)} /> : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button
            disabled={!ready}
            loading={bring.isPending}
            onClick={() => {
              if (version !== null && sums)
                bring.mutate({ idempotencyKey, versionId: version, hostIds: sums.hosts.map(({ id }) => id) });
            }}
          >
            {(sums?.hosts.length ?? 0) > 1 ? `Bring to ${sums?.hosts.length} hosts` : 'Bring'}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}

function VersionField({ value, onChange }: { value: string | null; onChange: (id: string | null) => void }) {
  const trpc = useTRPC();
  const templates = useQuery(trpc.template.list.queryOptions());
  return (
    <Select
      label="Template"
      placeholder="A template version"
      searchable
      data={(templates.data ?? []).flatMap((template) =>
        template.versions.map((version) => ({
          value: version.id,
          label: `${template.name} v${version.number} · ${formatBytes(version.allocatedBytes)}`,
        })),
      )}
      value={value}
      onChange={onChange}
      nothingFoundMessage="No template by that name."
    />
  );
}

const offered = (host: BringChoice): boolean => host.way === 'whole' || host.way === 'delta';

function HostsField({
  preview,
  value,
  onChange,
}: {
  preview: BringPreview;
  value: string[];
  onChange: (ids: string[]) => void;
}) {
  const here = preview.hosts.filter(({ way }) => way === 'here').length;
  const open = preview.hosts.filter(offered);
  return (
    <>
      <Text size="sm" c="dimmed">
        {here === 0
          ? 'No host that answers has it.'
          : `${count(here, 'host')} ${here === 1 ? 'has' : 'have'} it.`}
      </Text>
      <MultiSelect
        label="Hosts"
        placeholder={value.length === 0 ? 'Choose hosts' : ''}
        searchable
        clearable
        limit={100}
        maxDropdownHeight={260}
        data={open.map((host) => ({ value: host.id, label: host.name }))}
        value={value}
        onChange={onChange}
        nothingFoundMessage="No host by that name can take it."
      />
      {open.length > 1 && value.length < open.length ? (
        <Button
          size="compact-xs"
          variant="subtle"
          color="gray"
          style={{ alignSelf: 'flex-start' }}
          onClick={() => onChange(open.map(({ id }) => id))}
        >
          All {open.length}
        </Button>
      ) : null}
    </>
  );
}

/** What will happen: bytes, time, and what is in the way. */
function What({ preview, chosen }: { preview: BringPreview; chosen: readonly string[] }) {
  const sums = bringSums(preview, chosen);
  const refused = preview.hosts.filter((host) => chosen.includes(host.id) && !offered(host));
  return (
    <>
      {refused.map((host) => (
        <Text size="sm" key={host.id}>
          {host.way === 'here'
            ? `${host.name} has it already.`
            : host.way === 'underway'
              ? `It is on its way to ${host.name}.`
              : `${host.name} can’t take it: ${host.why ?? ''}`}
        </Text>
      ))}
      {sums.hosts.length === 0 ? null : (
        <Stack gap={4}>
          <Text size="sm">
            Moves {sums.atMost ? 'at most ' : ''}
            {formatBytes(sums.mostBytes)}
            {sums.hosts.length > 1
              ? `, ${formatBytes(preview.bytes)} to each; the source sends it about once.`
              : '.'}
            {sums.atMost ? ' Of a host with an older version only what changed travels.' : ''}
          </Text>
          <Text size="sm">
            {sums.seconds === null
              ? 'How long it takes is not known: no transfer was measured here yet.'
              : `About ${formatDuration(sums.seconds)}, at the ${formatRate(preview.rate ?? 0)} of the last transfers.`}
          </Text>
        </Stack>
      )}
      {sums.full.length === 0 ? null : (
        <Text size="sm" c="var(--state-failed)">
          Not enough space on {sums.full.join(', ')}.
        </Text>
      )}
    </>
  );
}
