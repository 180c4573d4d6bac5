import { Group, Text, VisuallyHidden } from '@mantine/core';
import {
  IconAlertTriangle,
  IconCircle,
  IconCircleCheck,
  IconCircleDashed,
  IconCircleX,
  IconClock,
  IconLoader2,
  IconPlayerPause,
  IconPlayerStop,
  IconPointFilled,
  IconQuestionMark,
  IconTrash,
} from '@tabler/icons-react';
import type { GuestState, OperationState, StepState } from '@offshoot/clone-core/contract';
import type { HostState } from '../../server/views/host.ts';
import { stateWords } from '../../lib/operation.ts';

type Tone = 'stopped' | 'good' | 'working' | 'attention' | 'failed';
type Icon = typeof IconCircle;
interface Look {
  tone: Tone;
  icon: Icon;
  word: string;
  turning?: boolean;
}

const guests: Readonly<Record<GuestState, Look>> = {
  creating: { tone: 'working', icon: IconLoader2, word: 'Being made', turning: true },
  stopped: { tone: 'stopped', icon: IconPlayerStop, word: 'Stopped' },
  running: { tone: 'good', icon: IconPointFilled, word: 'Running' },
  paused: { tone: 'attention', icon: IconPlayerPause, word: 'Paused' },
  deleting: { tone: 'working', icon: IconTrash, word: 'Being deleted' },
  missing: { tone: 'failed', icon: IconQuestionMark, word: 'Missing' },
};

const operations: Readonly<Record<OperationState, Omit<Look, 'word'>>> = {
  waiting: { tone: 'stopped', icon: IconClock },
  queued: { tone: 'stopped', icon: IconClock },
  running: { tone: 'working', icon: IconLoader2, turning: true },
  undoing: { tone: 'working', icon: IconLoader2, turning: true },
  finished: { tone: 'good', icon: IconCircleCheck },
  failed: { tone: 'failed', icon: IconCircleX },
  cancelled: { tone: 'stopped', icon: IconPlayerStop },
  stale: { tone: 'attention', icon: IconAlertTriangle },
};

const hosts: Readonly<Record<HostState, Look>> = {
  online: { tone: 'good', icon: IconPointFilled, word: 'Online' },
  problem: { tone: 'attention', icon: IconAlertTriangle, word: 'Needs attention' },
  silent: { tone: 'failed', icon: IconCircleX, word: 'Not heard from' },
};

const steps: Readonly<Record<StepState, Look>> = {
  pending: { tone: 'stopped', icon: IconCircle, word: 'To do' },
  running: { tone: 'working', icon: IconLoader2, word: 'Running', turning: true },
  done: { tone: 'good', icon: IconCircleCheck, word: 'Done' },
  failed: { tone: 'failed', icon: IconCircleX, word: 'Failed' },
  undoing: { tone: 'working', icon: IconLoader2, word: 'Being undone', turning: true },
  undone: { tone: 'stopped', icon: IconCircleDashed, word: 'Undone' },
  'undo-failed': { tone: 'failed', icon: IconAlertTriangle, word: 'Could not be undone' },
};

/** The colour of a state, for a bar beside its word. */
export const toneColor = (tone: Tone): string => `var(--state-${tone})`;

export const operationTone = (state: OperationState): Tone => operations[state].tone;

function Label({ look: { tone, icon: Icon, word, turning } }: { look: Look }) {
  return (
    <Group
      gap={6}
      wrap="nowrap"
      component="span"
      style={{ display: 'inline-flex', whiteSpace: 'nowrap', verticalAlign: 'middle' }}
    >
      <Icon
        size={16}
        stroke={2}
        color={toneColor(tone)}
        className={turning ? 'turning' : undefined}
        aria-hidden
        style={{ flexShrink: 0 }}
      />
      <Text span inherit>
        {word}
      </Text>
    </Group>
  );
}

export const GuestStateLabel = ({ state }: { state: GuestState }) => <Label look={guests[state]} />;
export const OperationStateLabel = ({ state }: { state: OperationState }) => (
  <Label look={{ ...operations[state], word: stateWords[state] }} />
);
export const HostStateLabel = ({ state }: { state: HostState }) => <Label look={hosts[state]} />;
const hostCounts: Readonly<Record<HostState, (number: number) => string>> = {
  online: (number) => `${number} online`,
  problem: (number) => `${number} ${number === 1 ? 'needs' : 'need'} attention`,
  silent: (number) => `${number} not heard from`,
};
/** So many hosts in this state. */
export const HostStateCount = ({ state, number }: { state: HostState; number: number }) => (
  <Label look={{ ...hosts[state], word: hostCounts[state](number) }} />
);
export const guestStateWord = (state: GuestState): string => guests[state].word;

/** A step's icon; its word is for screen readers, its title stands beside it. */
export function StepIcon({ state }: { state: StepState }) {
  const { icon: Icon, tone, turning, word } = steps[state];
  return (
    <span style={{ display: 'inline-flex', marginTop: 2 }}>
      <Icon
        size={18}
        stroke={1.9}
        color={toneColor(tone)}
        className={turning ? 'turning' : undefined}
        aria-hidden
      />
      <VisuallyHidden>{word}</VisuallyHidden>
    </span>
  );
}
