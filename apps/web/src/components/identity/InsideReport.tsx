'use client';

import { Box, Button, Group, List, Stack, Text } from '@mantine/core';
import {
  cleanKinds,
  type CleanKind,
  type GuestInside,
  type InsideFinding,
} from '@offshoot/clone-core/contract/identity';
import { IconAlertTriangle, IconCircleCheck, IconInfoCircle } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { count, formatBytes } from '../../lib/format.ts';
import { cleanWords, isCleanKind, leftOutWords } from '../../lib/identity.ts';
import { Quiet } from '../display/Text.tsx';

export interface Cleaning {
  clean: readonly CleanKind[];
  /** Not answered yet. */
  pending: boolean;
  onChange: (clean: CleanKind[]) => void;
}

/** What is inside a template's disks, and what becomes of it in a clone. */
export function InsideReport({
  inside,
  cleaning,
}: {
  inside: GuestInside | null;
  /** What its clones leave out, and how to change that. */
  cleaning: Cleaning;
}) {
  if (inside === null)
    return (
      <Box className="panel" p="sm">
        <Text size="sm">
          <Quiet>
            Nobody looked into its disks when it was made. What its clones share is said in the preview and on
            their pages.
          </Quiet>
        </Text>
      </Box>
    );
  const { clean, pending, onChange } = cleaning;
  const options = choosable(inside);
  const left = options.filter((kind) => !clean.includes(kind));
  const warnings = inside.found.filter(
    (finding) => finding.level === 'warn' && !isDone(finding, inside, clean),
  ).length;
  return (
    <Stack className="panel" p="sm" gap="sm">
      <Group gap={6} wrap="nowrap" align="flex-start">
        {warnings === 0 ? (
          <IconCircleCheck
            size={17}
            color="var(--state-good)"
            aria-hidden
            style={{ flexShrink: 0, marginTop: 2 }}
          />
        ) : (
          <IconAlertTriangle
            size={17}
            color="var(--state-attention)"
            aria-hidden
            style={{ flexShrink: 0, marginTop: 2 }}
          />
        )}
        <div>
          <Text size="sm" fw={600}>
            {systemWords(inside)}
          </Text>
          <Text size="sm" c="dimmed">
            {abilityWords(inside)}
          </Text>
        </div>
      </Group>
      {left.length < 2 ? null : (
        <Group gap="sm">
          <Button
            size="xs"
            variant="default"
            loading={pending}
            onClick={() => onChange([...new Set([...clean, ...left])])}
          >
            Clean on clone
          </Button>
          <Text size="sm" c="dimmed">
            Leaves {leftOutWords({ changed: left })} out of every clone, unless its request says otherwise.
          </Text>
        </Group>
      )}
      {inside.found.length === 0 ? null : (
        <Stack gap="xs">
          {inside.found.map((finding) => (
            <Finding
              key={`${finding.what} ${finding.text}`}
              finding={finding}
              fate={fateOf(finding, inside, clean)}
              done={isDone(finding, inside, clean)}
              action={
                isCleanKind(finding.what) && options.includes(finding.what)
                  ? toggle(finding.what, clean, pending, onChange)
                  : null
              }
            />
          ))}
        </Stack>
      )}
    </Stack>
  );
}

function toggle(
  kind: CleanKind,
  clean: readonly CleanKind[],
  pending: boolean,
  onChange: (clean: CleanKind[]) => void,
) {
  const kept = !clean.includes(kind);
  const name = cleanWords[kind].name;
  return (
    <Button
      size="xs"
      variant="default"
      disabled={pending}
      aria-label={kept ? `Clean on clone: ${name}` : `Keep in clones: ${name}`}
      onClick={() => onChange(cleanKinds.filter((one) => (one === kind ? kept : clean.includes(one))))}
      style={{ flexShrink: 0 }}
    >
      {kept ? 'Clean on clone' : 'Keep'}
    </Button>
  );
}

function systemWords(inside: GuestInside): string {
  if (inside.kind === 'unknown')
    return `What is inside can’t be read${inside.why === undefined ? '' : `: ${inside.why}`}`;
  return inside.osName ?? (inside.kind === 'windows' ? 'Windows' : 'Linux');
}

const readers = {
  'cloud-init': 'cloud-init',
  'cloudbase-init': 'cloudbase-init',
  'nocloud-subset': 'a small reader of NoCloud drives',
} as const;

function abilityWords(inside: GuestInside): string {
  if (inside.kind === 'unknown')
    return 'Clones get a new name, UUID and MAC addresses; inside they are like this.';
  const parts = [
    inside.seedReader === undefined ? 'No cloud-init' : `Has ${readers[inside.seedReader]}`,
    inside.agent
      ? 'has a guest agent, so a clone can prove who it is'
      : 'no guest agent, so a clone can’t prove who it is',
  ];
  const edit =
    inside.root !== undefined && inside.notEditable === undefined
      ? `its disk (${inside.root.filesystem}) can be changed before a clone starts`
      : inside.notEditable === undefined
        ? undefined
        : `its disk can’t be changed from outside: ${inside.notEditable}`;
  const apart =
    inside.apart === undefined
      ? undefined
      : `${inside.apart.join(' and ')} ${inside.apart.length === 1 ? 'is a filesystem' : 'are filesystems'} of ${inside.apart.length === 1 ? 'its' : 'their'} own and ${inside.apart.length === 1 ? 'was' : 'were'} not looked into`;
  return `${[...parts, edit, apart].filter((part) => part !== undefined).join('; ')}.`;
}

/** What every way to give a clone its identity renews; the rest of what is found goes along. */
const renewed: ReadonlySet<InsideFinding['what']> = new Set([
  'machine-id',
  'ssh-host-keys',
  'dhcp-leases',
  'persistent-nic-names',
  'mac-bound-network',
  'random-seed',
  'cloud-init-state',
  'agent-state',
]);
const lacks: ReadonlySet<InsideFinding['what']> = new Set(['no-agent', 'no-seed-reader', 'not-generalized']);

/** A way to change what is inside its clones. */
const reachable = (inside: GuestInside): boolean =>
  inside.seedReader !== undefined || inside.agent || inside.notEditable === undefined;

/** What can be left out, where someone decides it. */
const choosable = (inside: GuestInside): CleanKind[] =>
  inside.kind === 'linux' && reachable(inside)
    ? cleanKinds.filter((kind) => inside.found.some(({ what }) => what === kind))
    : [];

/** Clones do not have it: always, or because someone chose so. */
function isDone(
  { what, cleanable }: InsideFinding,
  inside: GuestInside,
  clean: readonly CleanKind[],
): boolean {
  return isCleanKind(what)
    ? clean.includes(what) && choosable(inside).includes(what)
    : cleanable && renewed.has(what) && reachable(inside);
}

/** What becomes of it in a clone. */
function fateOf(finding: InsideFinding, inside: GuestInside, clean: readonly CleanKind[]): string {
  const { what } = finding;
  if (lacks.has(what)) return '';
  if (isDone(finding, inside, clean)) return 'Cleaned on clone.';
  return isCleanKind(what) && choosable(inside).includes(what)
    ? 'Stays in clones.'
    : 'Stays in clones: take it out of the source and publish again.';
}

function Finding({
  finding,
  fate,
  done,
  action,
}: {
  finding: InsideFinding;
  fate: string;
  /** Clones do not have it. */
  done: boolean;
  action: ReactNode;
}) {
  const { level, text, paths, bytes } = finding;
  return (
    <Group gap={6} wrap="nowrap" align="flex-start">
      {done ? (
        <IconCircleCheck
          size={16}
          color="var(--state-good)"
          aria-label="Cleaned on clone"
          style={{ flexShrink: 0, marginTop: 3 }}
        />
      ) : level === 'warn' ? (
        <IconAlertTriangle
          size={16}
          color="var(--state-attention)"
          aria-label="Warning"
          style={{ flexShrink: 0, marginTop: 3 }}
        />
      ) : (
        <IconInfoCircle
          size={16}
          color="var(--mantine-color-dimmed)"
          aria-label="Note"
          style={{ flexShrink: 0, marginTop: 3 }}
        />
      )}
      <Box miw={0} style={{ flexGrow: 1 }}>
        <Text size="sm">
          {text} <Quiet>{fate}</Quiet>
        </Text>
        {paths.length === 0 ? null : (
          <details>
            <summary style={{ cursor: 'pointer', fontSize: 13, color: 'var(--mantine-color-dimmed)' }}>
              {count(paths.length, 'path')}
              {bytes === undefined ? '' : `, ${formatBytes(bytes)}`}
            </summary>
            <List size="xs" listStyleType="none">
              {paths.map((path) => (
                <List.Item key={path}>
                  <span className="mono" style={{ overflowWrap: 'anywhere' }}>
                    {path}
                  </span>
                </List.Item>
              ))}
            </List>
          </details>
        )}
      </Box>
      {action}
    </Group>
  );
}
