/** A chosen way in the preview's words. */
import type { PlanNote } from '../contract.ts';
import { cleanKinds, type CleanKind, type IdentityWay } from './contract.ts';
import { ofTheMachine } from './ways-effects.ts';
import type { WayChoice, WayQuestion } from './ways-question.ts';
import { wordsOf } from './words.ts';

export function notesOf(
  choice: Omit<WayChoice, 'notes'>,
  question: WayQuestion,
  why: string | undefined,
): PlanNote[] {
  const { inside, options } = question;
  const notes: PlanNote[] = [];
  const cleaned = cleanKinds.filter((kind) => choice.changed.includes(kind));
  const inner = choice.changed.filter(
    (field) => !ofTheMachine.includes(field) && !cleanKinds.some((kind) => kind === field),
  );
  const by: Record<Exclude<IdentityWay, 'none'>, string> = {
    seed: `by a NoCloud drive that ${inside?.seedReader === 'nocloud-subset' ? 'it' : (inside?.seedReader ?? 'cloud-init')} reads at its first start`,
    agent: 'by its guest agent, while its network is cut',
    offline: 'by changes to its disk before it starts',
    unattend: 'by an answer file on a CD that Windows reads at its first start',
  };
  if (choice.way === 'none')
    notes.push({
      level: 'warn',
      text: `Inside it stays its source, because ${why ?? 'nothing there can be changed'}: ${wordsOf(choice.kept.map((each) => each.field))} will not be unique. Only name, UUID, network addresses and generation id of the virtual machine are new.`,
    });
  else
    notes.push({
      level: 'info',
      text: `Inside it becomes its own machine ${by[choice.way]}: ${wordsOf(inner)}.`,
    });
  const reasons = new Set(choice.way === 'none' ? [] : choice.kept.map((each) => each.why));
  for (const reason of reasons) {
    const fields = choice.kept.filter((each) => each.why === reason).map((each) => each.field);
    notes.push({ level: 'warn', text: `Not new: ${wordsOf(fields)}, because ${reason}.` });
  }
  if (choice.way !== 'none' && choice.way !== 'unattend')
    for (const agent of choice.resets)
      notes.push({
        level: /stays the source/.test(agent.note) ? 'warn' : 'info',
        text: `${agent.name}: ${agent.note}`,
      });
  notes.push(...cleanNotes(cleaned, choice.way, question));
  notes.push(...policyNotes(choice, question));
  if (choice.way === 'offline' && /red hat|centos|fedora|rocky|alma|oracle/i.test(inside?.osName ?? ''))
    notes.push({
      level: 'info',
      text: 'Its first start labels its files for SELinux and then restarts: that takes longer.',
    });
  if (options.userData !== undefined && choice.way !== 'seed')
    notes.push({ level: 'warn', text: 'The user data is not used: no cloud-init reads it in this guest.' });
  return notes;
}

const consequences: Readonly<Record<CleanKind, string>> = {
  logs: 'Its logs begin anew.',
  'shell-history': 'What was typed in the source is not to be seen.',
  'authorized-keys': 'Whoever could sign in to the source with a key can’t here.',
  secrets: 'What signs in elsewhere with them can’t any more.',
};

function cleanNotes(
  cleaned: readonly CleanKind[],
  way: IdentityWay,
  { mode, options, inside }: WayQuestion,
): PlanNote[] {
  if (cleaned.length === 0) return [];
  const notes: PlanNote[] = [
    {
      level: 'info',
      text: [
        `Left out: its source’s ${wordsOf(cleaned)}.`,
        ...cleaned.map((kind) => consequences[kind]),
        ...(cleaned.includes('secrets')
          ? [
              `Secrets are deleted, not overwritten: who is root in it may find traces on its disk${mode === 'memory' ? ', and what running programs know of them stays' : ''}.`,
            ]
          : []),
      ].join(' '),
    },
  ];
  const { apart } = inside ?? {};
  if (way === 'offline' && apart)
    notes.push({
      level: 'warn',
      text: `What is in ${apart.join(' and ')} stays: ${apart.length === 1 ? 'it is a filesystem' : 'they are filesystems'} of ${apart.length === 1 ? 'its' : 'their'} own, and only that of / is changed before it starts.`,
    });
  const signsIn = options.users.some((user) => user.sshKeys.length > 0 || user.passwordHash !== undefined);
  if (cleaned.includes('authorized-keys') && !signsIn && options.userData === undefined)
    notes.push({
      level: 'warn',
      text: 'No SSH key will be in it: sign in with a password of the source on its screen (virt-viewer on its host), or add a user.',
    });
  return notes;
}

function policyNotes(choice: Omit<WayChoice, 'notes'>, question: WayQuestion): PlanNote[] {
  const { policy } = choice;
  const seconds = question.options.deadlineSeconds;
  if (!question.start)
    return policy === 'off'
      ? []
      : [{ level: 'info', text: 'Its network stays cut until its first start has proven who it is.' }];
  switch (policy) {
    case 'strict':
      return [
        {
          level: 'info',
          text: `Its network comes up when its agent has proven that it is itself. Without proof within ${seconds} s it stays cut.`,
        },
      ];
    case 'warn':
      return [
        {
          level: 'warn',
          text: `Its network comes up when its agent has proven that it is itself, and after ${seconds} s in any case.`,
        },
      ];
    case 'off':
      return choice.way === 'none'
        ? []
        : [
            {
              level: 'info',
              text: 'Its network is up from the start; nothing proves that it has its own identity.',
            },
          ];
  }
}
