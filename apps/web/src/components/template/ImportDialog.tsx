'use client';

import { Button, Group, Modal, NumberInput, Select, SimpleGrid, Stack, TextInput } from '@mantine/core';
import { importRequestSchema } from '@offshoot/clone-core/contract';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState, type SyntheticEvent } from 'react';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import { Problem } from '../display/Blocks.tsx';

type Problems = Partial<Record<string, string>>;

/** A disk image on a host becomes a template, or a new version of one. */
export function ImportDialog({ onClose }: { onClose: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const hosts = useQuery(trpc.host.names.queryOptions());
  const [values, setValues] = useState({
    template: '',
    description: '',
    imagePath: '',
    osName: 'Linux',
    vcpus: 1 as number | string,
    memoryMiB: 256 as number | string,
    firmware: 'bios',
    hostId: null as string | null,
  });
  const [problems, setProblems] = useState<Problems>({});
  const hostId = values.hostId ?? hosts.data?.[0]?.id ?? null;
  const start = useMutation(
    trpc.operation.create.import.mutationOptions({
      onSuccess: ({ operationIds }) => {
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
      onError: (error) => {
        const { field, message } = publicError(error);
        if (field !== undefined) setProblems({ [field.replace(/^request\./, '')]: message });
      },
    }),
  );
  const set = (part: Partial<typeof values>): void => setValues((old) => ({ ...old, ...part }));
  const text = (name: 'template' | 'description' | 'imagePath' | 'osName') => ({
    value: values[name],
    error: problems[name],
    onChange: (event: SyntheticEvent<HTMLInputElement>) => set({ [name]: event.currentTarget.value }),
  });
  const submit = (): void => {
    const parsed = importRequestSchema.safeParse({
      ...values,
      hostId,
      template: values.template.trim(),
      imagePath: values.imagePath.trim(),
    });
    if (parsed.success) {
      setProblems({});
      start.mutate({ idempotencyKey, request: parsed.data });
    } else
      setProblems(
        Object.fromEntries(
          parsed.error.issues.map((issue) => [
            String(issue.path[0]),
            friendly(String(issue.path[0]), issue.message, values.template),
          ]),
        ),
      );
  };
  const other =
    start.error && publicError(start.error).field === undefined ? publicError(start.error) : undefined;
  return (
    <Modal opened onClose={onClose} title="Import an image" radius="md" size="lg" centered>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Stack gap="sm">
          <TextInput
            label="Template"
            description="A new name makes a template; an existing one gets a new version."
            data-autofocus
            {...text('template')}
          />
          <TextInput
            label="Image file"
            description="Its path on the host: qcow2, raw, VMDK, VHDX or OVA. It is read, never changed."
            placeholder="/var/lib/libvirt/images/debian-12.qcow2"
            {...text('imagePath')}
          />
          <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
            <Select
              label="Host"
              allowDeselect={false}
              data={(hosts.data ?? []).map(({ id, name }) => ({ value: id, label: name }))}
              value={hostId}
              onChange={(value) => set({ hostId: value })}
              error={problems['hostId']}
            />
            <TextInput label="Operating system" {...text('osName')} />
            <NumberInput
              label="Processors"
              value={values.vcpus}
              onChange={(vcpus) => set({ vcpus })}
              min={1}
              max={256}
              clampBehavior="none"
              error={problems['vcpus']}
            />
            <NumberInput
              label="Memory (MiB)"
              value={values.memoryMiB}
              onChange={(memoryMiB) => set({ memoryMiB })}
              min={64}
              step={128}
              clampBehavior="none"
              error={problems['memoryMiB']}
            />
            <Select
              label="Firmware"
              allowDeselect={false}
              data={[
                { value: 'bios', label: 'BIOS' },
                { value: 'uefi', label: 'UEFI' },
              ]}
              value={values.firmware}
              onChange={(firmware) => set({ firmware: firmware ?? 'bios' })}
            />
            <TextInput label="Description" {...text('description')} />
          </SimpleGrid>
          {other ? <Problem error={other} /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={start.isPending}>
              Import
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function friendly(field: string, message: string, value: string): string {
  if (field === 'imagePath') return 'Give the full path on the host, from the first slash.';
  if (field === 'hostId') return 'Pick a host.';
  if (field === 'template' && value.trim() === '') return 'Give it a name.';
  return message;
}
