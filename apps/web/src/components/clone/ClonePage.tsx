'use client';

import { Box, Button, Grid, Group, Stack, Text } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import type { AgreedShare, ClonePreview, ModeChoice } from '@offshoot/clone-core/contract';
import { keepPreviousData, skipToken, useMutation, useQuery } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import { Failed, PageTitle, Problem, SkeletonRows } from '../display/Blocks.tsx';
import {
  chooses,
  emptyForm,
  hostsToChooseFrom,
  nameAtFault,
  readForm,
  suggestName,
  type CloneForm,
} from './form.ts';
import { identityAtFault } from './identity/form.ts';
import { IdentityFields } from './identity/IdentityFields.tsx';
import { KindField } from './KindField.tsx';
import { NamesField } from './NamesField.tsx';
import { NoSources } from './NoSources.tsx';
import { OptionsFields } from './OptionsFields.tsx';
import { PreviewPanel } from './PreviewPanel.tsx';
import { SourceField } from './SourceField.tsx';
import { useSources, useTakenNames } from './useSources.ts';
import { WhereField } from './WhereField.tsx';

/** What will I get? One page from source to clone. */
export function ClonePage({ initialSource }: { initialSource: string | null }) {
  const sources = useSources(initialSource);
  if (sources.error) return <Failed error={sources.error} retry={sources.refetch} />;
  if (sources.loading)
    return (
      <>
        <PageTitle title="New clone" />
        <SkeletonRows rows={6} height={84} />
      </>
    );
  const all = [...sources.templates, ...sources.guests];
  if (all.length === 0)
    return (
      <>
        <PageTitle title="New clone" />
        <NoSources />
      </>
    );
  const linked = all.find(
    (choice) => choice.value === initialSource || choice.aliases.includes(initialSource ?? ''),
  );
  return (
    <Form
      sources={sources}
      initial={linked ?? (initialSource === null ? (sources.templates[0] ?? null) : null)}
      gone={initialSource !== null && !linked}
    />
  );
}

type Sources = ReturnType<typeof useSources>;

/** What the click says of the plan that was shown. */
function agreedOf({
  fingerprint,
  placement,
}: ClonePreview): { agreedFingerprint: string } | { agreedShares: AgreedShare[] } {
  if (!placement) return { agreedFingerprint: fingerprint };
  return {
    agreedShares: placement.shares.map(({ hostId, seats, fingerprint: of }) => ({
      hostId,
      seats,
      fingerprint: of,
    })),
  };
}

function Form({
  sources,
  initial,
  gone,
}: {
  sources: Sources;
  initial: Sources['guests'][number] | null;
  gone: boolean;
}) {
  const trpc = useTRPC();
  const router = useRouter();
  const hosts = sources.hosts;
  const [typed, setForm] = useState<CloneForm>(() => ({
    ...emptyForm,
    where: 'auto',
    source: initial?.source ?? null,
    windows: initial?.windows ?? false,
  }));
  // With one host there is nothing to choose, and nothing is said of it.
  const several = hosts.length > 1;
  // A guest's disks are looked into for the preview: what is known of them then stays known.
  const [looked, setLooked] = useState<{ source: string; inside: ClonePreview['inside'] }>();
  const inside = looked?.source === JSON.stringify(typed.source) ? looked.inside : undefined;
  const windows = typed.windows || inside?.kind === 'windows';
  const form = useMemo(
    () => ({ ...typed, windows, ...(several ? {} : { where: null }) }),
    [several, typed, windows],
  );
  const [chosen, setChosen] = useState(initial);
  const taken = useTakenNames(chosen?.name ?? null);
  const proposed = useRef('');
  useEffect(() => {
    if (!chosen || !taken) return;
    const before = proposed.current;
    const name = (proposed.current = suggestName(chosen.name, taken));
    // A name that someone typed stays.
    setForm((old) => (old.pattern === '' || old.pattern === before ? { ...old, pattern: name } : old));
  }, [chosen, taken]);
  const change = (part: Partial<CloneForm>): void => setForm((old) => ({ ...old, ...part }));
  const read = useMemo(() => readForm(form), [form]);
  const asked = useMemo(() => JSON.stringify(read.request ?? null), [read.request]);
  const [settled] = useDebouncedValue(asked, 300);
  const request = useMemo(
    () => (settled === 'null' ? undefined : (JSON.parse(settled) as NonNullable<typeof read.request>)),
    [settled],
  );
  const preview = useQuery({
    ...trpc.preview.clone.queryOptions(request ?? skipToken),
    placeholderData: keepPreviousData,
    staleTime: 10_000,
    retry: false,
  });
  // The key belongs to what is asked for: another request is another click.
  const [key, renewKey] = useIdempotencyKey();
  useEffect(renewKey, [asked, renewKey]);
  const clone = useMutation(
    trpc.operation.create.clone.mutationOptions({
      onSuccess: ({ batchId, operationIds }) => {
        const [only] = operationIds;
        router.push(
          operationIds.length === 1 && only !== undefined
            ? `/operations/${only}`
            : `/operations/batch/${batchId}`,
        );
      },
    }),
  );
  // Another render follows at once; the same answer is the same object.
  const seen = preview.isPlaceholderData ? undefined : preview.data?.inside;
  const seenOf = JSON.stringify(request?.source ?? null);
  if (seen && (looked?.inside !== seen || looked.source !== seenOf))
    setLooked({ source: seenOf, inside: seen });
  const current =
    settled === asked && request !== undefined && preview.isSuccess && !preview.isPlaceholderData;
  const modes: readonly ModeChoice[] | undefined = preview.data?.modes;
  const refusal = clone.error
    ? publicError(clone.error)
    : preview.error && settled === asked
      ? publicError(preview.error)
      : undefined;
  const wrongIdentity = identityAtFault(refusal?.field);
  const wrongName = nameAtFault(refusal?.field, read.names);
  const submit = (): void => {
    if (read.request && current)
      clone.mutate({
        idempotencyKey: key,
        request: read.request,
        ...agreedOf(preview.data),
      });
  };
  // Opened by its address, the page has nothing behind it to go back to.
  const leave = (): void => (window.history.length > 1 ? router.back() : router.push('/'));
  const last = clone.data?.operationIds.length ?? 0;
  return (
    <>
      <PageTitle title="New clone" />
      {gone ? (
        <Box mb="md">
          <Problem
            error={{
              code: 'not-found',
              message: 'The source of this link is gone.',
              remedy: 'Pick another one.',
              retryable: false,
            }}
          />
        </Box>
      ) : null}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Grid gap="xl">
          <Grid.Col span={{ base: 12, md: 7 }}>
            <Stack gap="lg">
              <SourceField
                sources={sources}
                value={chosen?.value ?? null}
                onChange={(choice) => {
                  setChosen(choice);
                  change({
                    source: choice.source,
                    windows: choice.windows,
                    network: null,
                    tpm: 'new',
                  });
                  clone.reset();
                }}
              />
              <KindField value={form.mode} modes={modes} onChange={(mode) => change({ mode })} />
              <NamesField
                form={form}
                read={read}
                wrong={wrongName === undefined ? undefined : refusal?.message}
                onChange={(part) => {
                  change(part);
                  clone.reset();
                }}
              />
              <WhereField
                form={form}
                hosts={hosts}
                source={chosen}
                count={read.names.length}
                onChange={(part) => {
                  change(part);
                  clone.reset();
                }}
              />
              <OptionsFields
                form={form}
                problems={read.problems}
                hosts={hostsToChooseFrom(form, hosts, chosen?.hostId ?? null)}
                onChange={change}
              />
              <IdentityFields
                form={form.identity}
                read={read.identity}
                names={read.names}
                windows={form.windows}
                cleaned={chosen?.clean ?? []}
                found={inside?.found ?? chosen?.found}
                memory={form.mode === 'memory'}
                refused={wrongIdentity === undefined ? {} : { [wrongIdentity]: refusal?.message ?? '' }}
                onChange={(part) => {
                  setForm((old) => ({ ...old, identity: { ...old.identity, ...part } }));
                  clone.reset();
                }}
              />
            </Stack>
          </Grid.Col>
          <Grid.Col span={{ base: 12, md: 5 }}>
            <Stack gap="md" style={{ position: 'sticky', top: 72 }}>
              <PreviewPanel
                preview={preview.data}
                ready={read.request !== undefined}
                current={current}
                error={refusal}
                retry={() => {
                  clone.reset();
                  void preview.refetch();
                }}
              />
              <Group justify="flex-end" gap="sm">
                {current || refusal ? null : (
                  <Text size="sm" c="dimmed" ta="right" w={{ base: '100%', xs: 'auto' }}>
                    {read.request
                      ? 'Working out what will happen…'
                      : form.where !== 'auto' && chooses(form) && form.hostIds.length === 0
                        ? 'Choose a host first.'
                        : read.identity.options === undefined
                          ? 'Something in Identity needs a look first.'
                          : 'Pick a source and a name first.'}
                  </Text>
                )}
                <Button variant="default" onClick={leave}>
                  Cancel
                </Button>
                <Button type="submit" disabled={!current || last > 0} loading={clone.isPending}>
                  {read.names.length > 1 ? `Clone ${read.names.length}` : 'Clone'}
                </Button>
              </Group>
            </Stack>
          </Grid.Col>
        </Grid>
      </form>
    </>
  );
}
