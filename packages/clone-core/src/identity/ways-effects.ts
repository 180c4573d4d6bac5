/** What a way changes in a guest, and what it leaves. */
import { OffshootError } from '../errors.ts';
import { resettable, type AgentState } from './agents.ts';
import { cleanKinds, type CleanKind, type IdentityField, type IdentityOptions } from './contract.ts';
import { canRunFirstBoot } from './first-boot.ts';
import { IDENTITY_FIELD } from './static-address.ts';
import type { Chosen, WayChoice, WayQuestion } from './ways-question.ts';
import { fieldName, sentenceOf } from './words.ts';

/** What only a full cloud-init, or first-boot work of ours, can do: a guest with the NoCloud subset can't. */
export function beyondSubset(options: IdentityOptions): boolean {
  return (
    options.users.some((user) => user.name !== 'root' || user.passwordHash !== undefined) ||
    options.timezone !== undefined ||
    options.locale !== undefined ||
    options.addressing?.type === 'static' ||
    options.packages.length > 0 ||
    options.firstBootScript !== undefined ||
    (options.clean ?? []).length > 0
  );
}

/** Fields of the virtual machine itself, new in every clone. */
export const ofTheMachine: readonly IdentityField[] = ['name', 'uuid', 'mac', 'genid'];
/** What makes a system inside the one it is. */
const ofTheSystem: readonly IdentityField[] = [
  'hostname',
  'machine-id',
  'ssh-host-keys',
  'dhcp-id',
  'random-seed',
  'hosts-file',
];

const isClean = (field: IdentityField): field is CleanKind => cleanKinds.some((kind) => kind === field);

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
    ...(options.clean ?? []),
  ];
}

const firstStart: readonly IdentityField[] = [
  'users',
  'time-zone',
  'locale',
  'packages',
  'first-boot-script',
];

/** Of what was asked for, what a guest sets up inside at its first start. */
export const setUpAtFirstStart = (options: IdentityOptions): IdentityField[] =>
  asked(options).filter((field) => firstStart.includes(field));

export function effectsOf(
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
      if (inside?.kind === 'windows') keep(['sid'], 'a Windows that is installed keeps it');
      break;
    case 'offline': {
      const can = canRunFirstBoot(inside?.init);
      const later: readonly IdentityField[] = can ? [] : ['ssh-host-keys', ...firstStart];
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
        changed.push(
          'hostname',
          'computer-name',
          'cloud-init-instance',
          ...wishes.filter((field) => !isClean(field)),
        );
        keep(wishes.filter(isClean), 'Windows’ files are not changed from outside');
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
  const reached = chosen.way !== 'none' && chosen.way !== 'unattend';
  const stay = resets.filter((agent) => !reached || !resettable(agent)).map(({ name }) => name);
  // One whose id stays is enough not to certify them.
  if (stay.length > 0)
    keep(
      ['agents'],
      reached ? `nothing from outside resets that of ${stay.join(' and ')}` : 'nothing inside is changed',
    );
  else if (resets.length > 0) changed.push('agents');
  return { changed: [...new Set(changed)], kept };
}

/** A user or an address that was asked for and would silently be missing. */
export function refuseUnmet(options: IdentityOptions, chosen: Chosen, kept: WayChoice['kept']): void {
  const fields: Partial<Record<IdentityField, string>> = {
    users: 'users',
    address: 'addressing',
    packages: 'packages',
    'first-boot-script': 'firstBootScript',
    'time-zone': options.timezone === undefined ? 'windows.timezone' : 'timezone',
    locale: 'locale',
  };
  for (const { field, why } of kept) {
    if (isClean(field))
      throw new OffshootError('invalid-input', {
        publicMessage: `${sentenceOf(fieldName(field))} can’t be left out of this clone: ${why}.`,
        remedy: 'Take it out of “Left out”, or clean the source itself.',
        field: `${IDENTITY_FIELD}.clean`,
      });
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
