'use client';

import { Select, Stack, Text } from '@mantine/core';
import type { ExportFormat, Source } from '@offshoot/clone-core/contract';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import { Buttons } from './Buttons.tsx';
import { GuestPlan, useGuestPlan } from './GuestPlan.tsx';

const formats: { value: ExportFormat; label: string }[] = [
  { value: 'ova', label: 'OVA: one file for VMware and VirtualBox' },
  { value: 'vmdk', label: 'VMDK: disks for VMware' },
  { value: 'vhdx', label: 'VHDX: disks for Hyper-V and Azure' },
  { value: 'qcow2', label: 'qcow2: disks for QEMU, Proxmox and OpenStack' },
  { value: 'raw', label: 'raw: disks for anything' },
];

/** A guest's or a template version's disks as files for another hypervisor, and what that takes, before the click. */
export function ExportForm({ source, onDone }: { source: Source; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const [format, setFormat] = useState<ExportFormat>('ova');
  const preview = useGuestPlan(
    source.type === 'guest'
      ? { kind: 'export', guestId: source.id, format }
      : { kind: 'export-version', versionId: source.versionId, format },
  );
  const start = useMutation(
    trpc.operation.create.export.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onDone();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
    }),
  );
  const { agreed, hostId } = preview;
  const host = useQuery(trpc.host.names.queryOptions()).data?.find(({ id }) => id === hostId)?.name;
  return (
    <Stack gap="sm">
      <Text size="sm">
        Its disks are written into files on {host ?? 'its host'}, with checksums.{' '}
        {source.type === 'guest' ? 'The guest' : 'The version'} stays as it is.
      </Text>
      <Select
        label="Format"
        data={formats}
        value={format}
        onChange={(chosen) => setFormat(formats.find(({ value }) => value === chosen)?.value ?? 'ova')}
        allowDeselect={false}
      />
      <GuestPlan preview={preview} problem={start.error ? publicError(start.error) : undefined} />
      <Buttons
        label="Export"
        busy={start.isPending}
        disabled={agreed === undefined}
        onDone={onDone}
        onGo={() =>
          start.mutate({
            idempotencyKey,
            source,
            format,
            agreedFingerprint: agreed,
          })
        }
      />
    </Stack>
  );
}
