'use client';

import { Button, Group, List, Skeleton, Stack, Text } from '@mantine/core';
import {
  IconAlertTriangle,
  IconCertificate,
  IconCircleCheck,
  IconCircleDashed,
  IconCircleX,
  IconDownload,
} from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import Link from 'next/link';
import {
  changedWords,
  firstBootWords,
  keptWords,
  leftOutWords,
  verdictRemedy,
  verdictWords,
  givenWords,
} from '../../lib/identity.ts';
import { publicError, useTRPC, type Outputs } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Facts, Failed, Problem, Section } from '../display/Blocks.tsx';
import { Ago, Copyable, Quiet } from '../display/Text.tsx';
import { CertificateVerdict } from './CertificateVerdict.tsx';

type Identity = Outputs['identity']['ofGuest'];
type Outcome = NonNullable<Identity['outcome']>;

/** Whether this guest is a machine of its own, how that came about, and the proof. */
export function IdentityCard({ guest }: { guest: GuestView }) {
  const trpc = useTRPC();
  const { data, error, refetch } = useQuery(trpc.identity.ofGuest.queryOptions({ id: guest.id }));
  return (
    <Section
      title="Identity"
      aside={
        <Link href="/certificates/verify" style={{ fontSize: 14 }}>
          Check a certificate
        </Link>
      }
    >
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : !data ? (
        <Skeleton h={120} />
      ) : data.outcome === null && data.attested === null ? (
        <Stack className="panel" p="sm" gap={4}>
          <Text size="sm">
            <Quiet>{nothingKnown(guest)}</Quiet>
          </Text>
        </Stack>
      ) : (
        <Stack gap="sm">
          {data.outcome === null ? null : <Proof outcome={data.outcome} />}
          <FirstBoot identity={data} windows={guest.windows} />
          <Values identity={data} />
          <Certificates guest={guest} certificates={data.certificates} />
        </Stack>
      )}
    </Section>
  );
}

function nothingKnown(guest: GuestView): string {
  if (guest.state === 'creating') return 'Decided while it is being made.';
  return guest.state === 'running'
    ? 'Not known yet: its agent has not said who it is. Running guests are asked one after another, every ten minutes; one without a guest agent can’t answer. Its MAC addresses and UUID are compared with all others’ all the same.'
    : 'Not known: a guest with an agent is asked when it runs.';
}

const icons: Readonly<Record<Outcome['verdict'], React.ReactNode>> = {
  attested: <IconCircleCheck size={17} color="var(--state-good)" aria-hidden style={{ flexShrink: 0 }} />,
  mismatch: <IconCircleX size={17} color="var(--state-failed)" aria-hidden style={{ flexShrink: 0 }} />,
  silent: (
    <IconAlertTriangle size={17} color="var(--state-attention)" aria-hidden style={{ flexShrink: 0 }} />
  ),
  unasked: <IconCircleDashed size={17} color="var(--state-stopped)" aria-hidden style={{ flexShrink: 0 }} />,
};

function Proof({ outcome }: { outcome: Outcome }) {
  const remedy = verdictRemedy(outcome);
  const changed = changedWords(outcome);
  const leftOut = leftOutWords(outcome);
  return (
    <Stack className="panel" p="sm" gap={6}>
      <Group gap={6} wrap="nowrap">
        {icons[outcome.verdict]}
        <Text size="sm" fw={600}>
          {verdictWords(outcome)}
        </Text>
      </Group>
      {outcome.problems.map((problem) => (
        <Text key={problem} size="sm">
          {problem}
        </Text>
      ))}
      {remedy === undefined ? null : (
        <Text size="sm" c="dimmed">
          {remedy}
        </Text>
      )}
      <Text size="sm">
        {givenWords(outcome.way)}
        {changed === '' ? '' : ` Its own: ${changed}.`}
        {leftOut === '' ? '' : ` Left out: its source’s ${leftOut}.`}
      </Text>
      <Text size="sm">{linkWords(outcome)}</Text>
      {outcome.kept.length === 0 ? null : (
        <>
          <Text size="sm" c="dimmed">
            As in its source:
          </Text>
          <List size="sm" spacing={2}>
            {outcome.kept.map((kept) => (
              <List.Item key={kept.field}>{keptWords(kept)}</List.Item>
            ))}
          </List>
        </>
      )}
    </Stack>
  );
}

function linkWords({ policy, linkUpAt, verdict }: Outcome): React.ReactNode {
  if (linkUpAt !== undefined)
    return (
      <>
        Its network came up <Ago at={linkUpAt} />
        {verdict === 'attested' ? ', after the proof.' : ', without a proof.'}
      </>
    );
  return policy === 'off' ? 'Its network waits for nothing.' : 'Its network has been off since it was made.';
}

/** How the script of its first start ended. */
function FirstBoot({ identity: { outcome, attested }, windows }: { identity: Identity; windows: boolean }) {
  if (!outcome?.changed.includes('first-boot-script')) return null;
  const { words, remedy, icon } = firstBootWords(attested?.firstBoot, windows);
  return (
    <Stack className="panel" p="sm" gap={6}>
      <Group gap={6} wrap="nowrap">
        {icons[icon]}
        <Text size="sm" fw={600}>
          {words}
        </Text>
      </Group>
      {remedy === undefined ? null : (
        <Text size="sm" c="dimmed">
          {remedy}
        </Text>
      )}
    </Stack>
  );
}

/** What was decided beside what its agent says. */
function Values({ identity: { outcome, attested, attestedAt } }: { identity: Identity }) {
  const decided = outcome?.decided;
  const pair = (has: string | undefined, wanted: string | undefined): React.ReactNode => {
    if (has === undefined && wanted === undefined) return <Quiet>not known</Quiet>;
    if (has === undefined) return <Copyable value={wanted ?? ''} />;
    return wanted === undefined || wanted.toLowerCase() === has.toLowerCase() ? (
      <Copyable value={has} />
    ) : (
      <>
        <Copyable value={has} /> <Quiet>decided: {wanted}</Quiet>
      </>
    );
  };
  const rows: (readonly [string, React.ReactNode])[] = [
    ['Host name', pair(attested?.hostname, decided?.hostname)],
    ...(attested?.fqdn === undefined && decided?.fqdn === undefined
      ? []
      : [['Full name', pair(attested?.fqdn, decided?.fqdn)] as const]),
    ['Machine id', pair(attested?.machineId, decided?.machineId)],
    ...(attested?.sid === undefined ? [] : [['SID', pair(attested.sid, undefined)] as const]),
    ...(attested && attested.sshHostKeys.length > 0
      ? [
          [
            'SSH host keys',
            <Stack key="k" gap={2}>
              {attested.sshHostKeys.map((key) => (
                <span key={key.fingerprint}>
                  <Quiet>{key.type}</Quiet> <Copyable value={key.fingerprint} />
                </span>
              ))}
            </Stack>,
          ] as const,
        ]
      : []),
    ...(decided?.address === undefined
      ? []
      : [['Address', <Copyable key="a" value={decided.address} />] as const]),
    ...(attested?.osName === undefined ? [] : [['System', attested.osName] as const]),
    [
      'Last asked',
      attestedAt === null ? (
        <Quiet key="t">its agent has not answered yet</Quiet>
      ) : (
        <Ago key="t" at={attestedAt} />
      ),
    ],
  ];
  return <Facts facts={rows} />;
}

function Certificates({ guest, certificates }: { guest: GuestView; certificates: Identity['certificates'] }) {
  const trpc = useTRPC();
  const client = useQueryClient();
  const verify = useMutation(trpc.certificate.verify.mutationOptions());
  const fetchText = async (id: string): Promise<string> =>
    JSON.stringify(await client.fetchQuery(trpc.certificate.get.queryOptions({ id })), null, 2);
  const download = useMutation({
    mutationFn: async (id: string) => {
      const url = URL.createObjectURL(new Blob([await fetchText(id)], { type: 'application/json' }));
      const link = document.createElement('a');
      link.href = url;
      link.download = `${guest.name}.certificate.json`;
      link.click();
      URL.revokeObjectURL(url);
    },
  });
  const check = useMutation({
    mutationFn: async (id: string) => verify.mutateAsync({ text: await fetchText(id) }),
  });
  const newest = certificates[0];
  if (!newest) return null;
  const failed = download.error ?? check.error;
  return (
    <Stack className="panel" p="sm" gap={6}>
      <Group justify="space-between" gap="xs">
        <Group gap={6} wrap="nowrap" miw={0}>
          <IconCertificate size={17} aria-hidden style={{ flexShrink: 0 }} />
          <Text size="sm">
            {newest.signedBy === null ? 'Certificate, not signed yet' : 'Certificate'},{' '}
            <Ago at={newest.issuedAt} />
            {certificates.length > 1 ? <Quiet> · {certificates.length - 1} earlier</Quiet> : null}
          </Text>
        </Group>
        <Group gap="xs">
          <Button
            size="xs"
            variant="default"
            loading={check.isPending}
            disabled={newest.signedBy === null}
            onClick={() => check.mutate(newest.id)}
          >
            Check
          </Button>
          <Button
            size="xs"
            variant="default"
            loading={download.isPending}
            disabled={newest.signedBy === null}
            leftSection={<IconDownload size={14} aria-hidden />}
            onClick={() => download.mutate(newest.id)}
          >
            Download
          </Button>
        </Group>
      </Group>
      {failed ? <Problem error={publicError(failed)} /> : null}
      {check.data ? <CertificateVerdict verified={check.data} brief /> : null}
    </Stack>
  );
}
