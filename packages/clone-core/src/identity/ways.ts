/** How a guest gets its identity, what that changes and what it leaves: chosen from facts, and said before it happens. Pure. */
import type { CloneMode, PlanNote } from '../contract.ts';
import type { Refusal, SourceState } from '../driver.ts';
import { OffshootError } from '../errors.ts';
import { agentsToReset, type AgentState } from './agents.ts';
import type { GuestInside, IdentityField, IdentityOptions, IdentityWay, LinkPolicy } from './contract.ts';
import { canRunFirstBoot } from './first-boot.ts';
import { IDENTITY_FIELD } from './static-address.ts';
import { fieldName, sentenceOf, wordsOf } from './words.ts';

/** What a hypervisor and its host can do here; a refusal says why not. */
export interface HypervisorCan {
  /** Give the clone one more drive, for its first start. */
  drive: true | Refusal;
  /** Change files in the disks of the clone before it starts. */
  edit: true | Refusal;
  /** Run commands inside through a guest agent, and set the link of a network card. */
  agent: true | Refusal;
}

export interface WayQuestion {
  options: IdentityOptions;
  mode: CloneMode;
  source: SourceState;
  /** What looking into the source's disks found; unset: nobody looked. */
  inside?: GuestInside;
  /** The agent of the running source answers. */
  agentAnswers?: boolean;
  can: HypervisorCan;
  /** The clone is started by the same operation: only then can it be attested. */
  start: boolean;
  /** Network cards of the clone. */
  nics: number;
  /** The list of agents in force. */
  agents?: readonly AgentState[];
}

export interface WayChoice {
  way: IdentityWay;
  policy: LinkPolicy;
  /** `seed`: besides the drive, `seedEdits` are made in the disk, so that the machine id is new from the first instruction on. */
  editsToo: boolean;
  /** A guest agent will be there to attest. */
  agent: boolean;
  changed: IdentityField[];
  /** What stays as in the source, and why, as the end of a sentence. */
  kept: { field: IdentityField; why: string }[];
  /** Agents whose state is reset. */
  resets: AgentState[];
  notes: PlanNote[];
}

type Chosen = Pick<WayChoice, 'way' | 'editsToo'> & { why?: string };

/**
 * Chooses. Throws `invalid-input` with field and remedy for what was asked for and can't be had: policy `strict` or `warn`
 * where no agent would attest, another policy than `strict` for a clone with memory, users or an address where nothing inside can
 * be changed.
 */
export function chooseWay(question: WayQuestion): WayChoice {
  const { options, inside } = question;
  const agent = question.can.agent === true && (question.agentAnswers === true || inside?.agent === true);
  const chosen = chooseFrom(question, agent);
  const policy = policyOf(question, chosen, agent);
  const resets = agentsToReset(
    options.agents,
    question.mode === 'memory' && inside === undefined ? undefined : inside?.agents,
    question.agents,
  );
  const { changed, kept } = effectsOf(question, chosen, resets);
  refuseUnmet(options, chosen, kept);
  const choice = { way: chosen.way, editsToo: chosen.editsToo, policy, agent, changed, kept, resets };
  return { ...choice, notes: notesOf(choice, question, chosen.why) };
}

/** What only a full cloud-init, or first-boot work of ours, can do: a guest with the NoCloud subset can't. */
function beyondSubset(options: IdentityOptions): boolean {
  return (
    options.users.some((user) => user.name !== 'root' || user.passwordHash !== undefined) ||
    options.timezone !== undefined ||
    options.locale !== undefined ||
    options.addressing?.type === 'static' ||
    options.packages.length > 0 ||
    options.firstBootScript !== undefined
  );
}

function chooseFrom(question: WayQuestion, agent: boolean): Chosen {
  const { can, inside, mode, options } = question;
  const chosen = (way: IdentityWay, more: Partial<Chosen> = {}): Chosen => ({
    way,
    editsToo: false,
    ...more,
  });
  if (mode === 'memory') {
    if (can.agent !== true)
      throw unavailable('A clone with memory gets its identity by its agent', can.agent);
    return chosen('agent');
  }
  if (inside?.kind === 'windows') return chooseWindows(inside, can, options, chosen);
  const editable = can.edit === true && inside?.root !== undefined && inside.notEditable === undefined;
  const offline = inside?.kind === 'linux' && editable;
  if (inside?.kind === 'linux') {
    if (inside.seedReader !== undefined && can.drive === true) {
      const subset = inside.seedReader === 'nocloud-subset';
      if (!(subset && offline && beyondSubset(options)))
        return chosen('seed', { editsToo: offline && !subset });
    }
    if (offline) return chosen('offline');
  }
  if (agent && question.start) return chosen('agent');
  return chosen('none', { why: whyNone(question, agent) });
}

function chooseWindows(
  inside: GuestInside,
  can: HypervisorCan,
  options: IdentityOptions,
  chosen: (way: IdentityWay, more?: Partial<Chosen>) => Chosen,
): Chosen {
  const sealed = inside.windows?.generalized === true;
  if (can.drive !== true) return chosen('none', { why: can.drive.why });
  // cloudbase-init joins no domain.
  if (inside.seedReader === 'cloudbase-init' && !options.windows?.join) return chosen('seed');
  if (sealed) return chosen('unattend');
  return chosen('none', { why: 'this Windows was not generalized with sysprep' });
}

function whyNone(question: WayQuestion, agent: boolean): string {
  const { inside, can } = question;
  if (!inside) return 'what is in its disks is not known, and no guest agent answers in its source';
  if (inside.kind === 'unknown') return inside.why ?? 'what is in its disks can’t be read';
  if (agent) return 'its agent can change it only when it is started';
  if (can.edit !== true) return can.edit.why;
  return (
    inside.notEditable ??
    'it has no cloud-init and no guest agent, and its disk is of a kind that is not edited here'
  );
}

function unavailable(what: string, refusal: Refusal): OffshootError {
  return new OffshootError('unavailable-mode', {
    publicMessage: `${what}, and here that can’t be: ${refusal.why}.`,
    remedy: refusal.remedy ?? 'Make a linked clone instead: it boots as a guest of its own.',
  });
}

function policyOf(question: WayQuestion, chosen: Chosen, agent: boolean): LinkPolicy {
  const { options, mode, nics, start } = question;
  const asked = options.policy;
  const refuse = (publicMessage: string, remedy: string): OffshootError =>
    new OffshootError('invalid-input', { publicMessage, remedy, field: `${IDENTITY_FIELD}.policy` });
  if (mode === 'memory') {
    if (asked !== undefined && asked !== 'strict')
      throw refuse(
        'A clone with memory is its source until its agent has changed it: on the network before that, both would break.',
        'Leave the policy on strict, or make a linked clone.',
      );
    return 'strict';
  }
  if (asked === 'off' || asked === undefined)
    return asked ?? (agent && start && nics > 0 && chosen.way !== 'none' ? 'strict' : 'off');
  if (!agent)
    throw refuse(
      `The network can’t wait for a proof here: ${
        question.can.agent === true
          ? question.inside || question.agentAnswers !== undefined
            ? 'no guest agent was found in the source'
            : 'whether a guest agent is in the source is not known'
          : question.can.agent.why
      }.`,
      'Set the policy to off, or install qemu-guest-agent in the source and clone again.',
    );
  return asked;
}

/** Fields of the virtual machine itself, new in every clone. */
const ofTheMachine: readonly IdentityField[] = ['name', 'uuid', 'mac', 'genid'];
/** What makes a system inside the one it is. */
const ofTheSystem: readonly IdentityField[] = [
  'hostname',
  'machine-id',
  'ssh-host-keys',
  'dhcp-id',
  'random-seed',
  'hosts-file',
];

function asked(options: IdentityOptions): IdentityField[] {
  return [
    ...(options.domain === undefined ? [] : (['fqdn'] as const)),
    ...(options.users.length === 0 ? [] : (['users'] as const)),
    ...(options.timezone === undefined && options.windows?.timezone === undefined
      ? []
      : (['time-zone'] as const)),
    ...(options.locale === undefined ? [] : (['locale'] as const)),
    ...(options.addressing?.type === 'static' ? (['address'] as const) : []),
    ...(options.packages.length === 0 ? [] : (['packages'] as const)),
    ...(options.firstBootScript === undefined ? [] : (['first-boot-script'] as const)),
  ];
}

function effectsOf(
  question: WayQuestion,
  chosen: Chosen,
  resets: readonly AgentState[],
): Pick<WayChoice, 'changed' | 'kept'> {
  const { options, inside } = question;
  const changed: IdentityField[] = [...ofTheMachine];
  const kept: WayChoice['kept'] = [];
  const keep = (fields: readonly IdentityField[], why: string): void => {
    for (const field of fields) kept.push({ field, why });
  };
  const wishes = asked(options);
  const first: IdentityField[] = ['users', 'time-zone', 'locale', 'packages', 'first-boot-script'];
  switch (chosen.way) {
    case 'none':
      keep([...ofTheSystem, ...wishes], chosen.why ?? 'nothing inside is changed');
      break;
    case 'agent':
      changed.push(...ofTheSystem, ...wishes.filter((field) => field !== 'address'));
      keep(
        wishes.filter((field) => field === 'address'),
        'its agent changes no network configuration',
      );
      break;
    case 'offline': {
      const can = canRunFirstBoot(inside?.init);
      const later: readonly IdentityField[] = can ? [] : ['ssh-host-keys', ...first];
      const all: IdentityField[] = [...ofTheSystem, 'network-configuration', ...wishes];
      changed.push(...all.filter((field) => !later.includes(field)));
      keep(
        all.filter((field) => later.includes(field)),
        'it is not known here how this system starts programs',
      );
      break;
    }
    case 'seed':
      if (inside?.seedReader === 'nocloud-subset') {
        changed.push('hostname', 'machine-id', 'ssh-host-keys', 'cloud-init-instance');
        changed.push(...wishes.filter((field) => field === 'users' && !beyondSubset(options)));
        keep(
          wishes.filter((field) => field !== 'users' || beyondSubset(options)),
          'its reader of seed drives knows host name and SSH keys only',
        );
      } else if (inside?.seedReader === 'cloudbase-init') {
        changed.push('hostname', 'computer-name', 'cloud-init-instance', ...wishes);
        if (inside.windows?.generalized) changed.push('sid');
        else keep(['sid'], 'this Windows was not generalized with sysprep');
      } else changed.push(...ofTheSystem, 'network-configuration', 'cloud-init-instance', ...wishes);
      break;
    case 'unattend':
      changed.push('hostname', 'computer-name', 'sid', ...wishes.filter((field) => field === 'time-zone'));
      keep(
        wishes.filter((field) => field !== 'time-zone'),
        'Offshoot’s answer file for Windows does not set it',
      );
      break;
  }
  if (resets.length > 0 && chosen.way !== 'none' && chosen.way !== 'unattend') changed.push('agents');
  else if (resets.length > 0) keep(['agents'], 'nothing inside is changed');
  return { changed: [...new Set(changed)], kept };
}

/** A user or an address that was asked for and would silently be missing. */
function refuseUnmet(options: IdentityOptions, chosen: Chosen, kept: WayChoice['kept']): void {
  const fields: Partial<Record<IdentityField, string>> = {
    users: 'users',
    address: 'addressing',
    packages: 'packages',
    'first-boot-script': 'firstBootScript',
    'time-zone': options.timezone === undefined ? 'windows.timezone' : 'timezone',
    locale: 'locale',
  };
  for (const { field, why } of kept) {
    const below = fields[field];
    if (below === undefined) continue;
    throw new OffshootError('invalid-input', {
      publicMessage: `${sentenceOf(fieldName(field))} can’t be set in this guest: ${why}.`,
      remedy:
        chosen.way === 'agent'
          ? 'Leave it empty, or make a clone without memory of a source with cloud-init.'
          : 'Leave it empty, or put cloud-init into the source.',
      field: `${IDENTITY_FIELD}.${below}`,
    });
  }
}

function notesOf(
  choice: Omit<WayChoice, 'notes'>,
  question: WayQuestion,
  why: string | undefined,
): PlanNote[] {
  const { inside, options } = question;
  const notes: PlanNote[] = [];
  const inner = choice.changed.filter((field) => !ofTheMachine.includes(field));
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
  if (choice.changed.includes('agents'))
    for (const agent of choice.resets)
      notes.push({
        level: /stays the source/.test(agent.note) ? 'warn' : 'info',
        text: `${agent.name}: ${agent.note}`,
      });
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
