/** The New clone form, as pure data: what is typed → a request, or what is wrong with it. */
import {
  cloneOptionsSchema,
  expandNames,
  guestNameSchema,
  rangeSize,
  type CloneMode,
  type CloneRequest,
  type Source,
} from '@offshoot/clone-core/contract';

import type { HostChoice } from '../../server/hosts/list.ts';
import { emptyIdentity, readIdentity, type IdentityForm, type ReadIdentity } from './identity/form.ts';

/** `auto`: among all hosts. `some`: among those picked. `one`: on that host. */
export type Where = 'auto' | 'some' | 'one';
/** How clones are spread over the hosts to choose from. */
export const spreads = ['even', 'few', 'apart', 'together'] as const;
export type Spread = (typeof spreads)[number];

export interface CloneForm {
  /** Null: there is one host, and nothing to choose. */
  where: Where | null;
  hostIds: string[];
  spread: Spread;
  source: Source | null;
  mode: CloneMode;
  pattern: string;
  /** As typed: empty while someone edits it. */
  count: number | '';
  start: boolean;
  waitForAgent: boolean;
  vcpus: number | '';
  memoryMiB: number | '';
  network: string | null;
  tpm: 'new' | 'copy';
  verify: boolean;
  refreshable: boolean;
  identity: IdentityForm;
  /** Windows is in the source: it has fields of its own. */
  windows: boolean;
}

export const emptyForm: CloneForm = {
  where: null,
  hostIds: [],
  spread: 'even',
  source: null,
  mode: 'linked',
  pattern: '',
  count: 1,
  start: true,
  waitForAgent: true,
  vcpus: '',
  memoryMiB: '',
  network: null,
  tpm: 'new',
  verify: false,
  refreshable: false,
  identity: emptyIdentity,
  windows: false,
};

export type FormField = 'source' | 'pattern' | 'count' | 'vcpus' | 'memoryMiB';
export type FormProblems = Partial<Record<FormField, string>>;

export interface ReadForm {
  /** The names it makes so far, also when something else is wrong. */
  names: string[];
  problems: FormProblems;
  identity: ReadIdentity;
  /** Set when nothing is wrong. */
  request: CloneRequest | undefined;
}

/** What typing a pattern changes: a range says how many; without one it is one again, unless another number was typed. */
export function typePattern(
  form: Pick<CloneForm, 'pattern' | 'count'>,
  pattern: string,
): Pick<CloneForm, 'pattern' | 'count'> {
  const [before, now] = [rangeSize(form.pattern), rangeSize(pattern)];
  if (now !== undefined) return { pattern, count: now === before ? form.count : now };
  return { pattern, count: before !== undefined && form.count === before ? 1 : form.count };
}

/** Reads the form. Problems are for fields that hold something wrong; an untouched empty one only keeps the request away. */
export function readForm(form: CloneForm): ReadForm {
  const problems: FormProblems = {};
  const typed = form.pattern.trim() !== '';
  const expansion = form.count === '' ? { names: [] } : expandNames(form.pattern, form.count);
  if (form.count === '') problems.count = 'How many?';
  else if (expansion.problem !== undefined) {
    const aboutCount = expandNames('a', form.count).problem;
    if (aboutCount !== undefined) problems.count = aboutCount;
    else if (typed) problems.pattern = expansion.problem;
  }
  if (form.vcpus !== '' && !(Number.isInteger(form.vcpus) && form.vcpus >= 1 && form.vcpus <= 256))
    problems.vcpus = 'From 1 to 256.';
  if (
    form.memoryMiB !== '' &&
    !(Number.isInteger(form.memoryMiB) && form.memoryMiB >= 64 && form.memoryMiB <= 4_194_304)
  )
    problems.memoryMiB = 'At least 64 MiB.';
  // Untouched it only keeps the request away.
  const nowhere = chooses(form) && form.where !== 'auto' && form.hostIds.length === 0;
  const identity = readIdentity(form.identity, form.windows);
  const complete =
    form.source !== null &&
    expansion.names.length > 0 &&
    Object.keys(problems).length === 0 &&
    !nowhere &&
    identity.options !== undefined;
  return {
    names: expansion.names,
    problems,
    identity,
    request:
      complete && form.source ? requestOf(form, form.source, expansion.names, identity.options) : undefined,
  };
}

/** Only a full copy of a guest has something to be brought up to date from. */
export const canRefresh = (form: Pick<CloneForm, 'mode' | 'source'>): boolean =>
  form.mode === 'full' && form.source?.type === 'guest';

/** A guest is cloned on its own host; a template on any. */
export const chooses = (form: Pick<CloneForm, 'where' | 'source'>): boolean =>
  form.where !== null && form.source?.type === 'template';

/** Those whose networks matter: where the clones may be made. */
export function hostsToChooseFrom<T extends { id: string }>(
  form: CloneForm,
  hosts: readonly T[],
  sourceHostId: string | null,
): T[] {
  if (!chooses(form)) return hosts.filter(({ id }) => id === sourceHostId);
  return form.where === 'auto' ? [...hosts] : hosts.filter(({ id }) => form.hostIds.includes(id));
}

/** Networks to choose from, each with where it is not to be had. */
export function networksOf(
  hosts: readonly Pick<HostChoice, 'name' | 'facts'>[],
): { value: string; label: string }[] {
  const all = hosts.map(({ name, facts }) => ({ name, networks: facts?.networks ?? [] }));
  const names = [...new Set(all.flatMap(({ networks }) => networks.map(({ name }) => name)))].sort();
  return names.map((value) => {
    const on = all.filter(({ networks }) => networks.some(({ name }) => name === value));
    const active = on.some(({ networks }) => networks.some(({ name, active: is }) => name === value && is));
    const notes = [
      ...(active ? [] : ['not active']),
      ...(on.length === all.length ? [] : [`on ${on.map(({ name }) => name).join(', ')} only`]),
    ];
    return { value, label: notes.length === 0 ? value : `${value} (${notes.join(', ')})` };
  });
}

function whereOf(form: CloneForm): Pick<CloneRequest, 'hostId' | 'placement'> {
  if (!chooses(form)) return {};
  const [only] = form.hostIds;
  if (form.where === 'one') return only === undefined ? {} : { hostId: only };
  return {
    placement: {
      policy: form.spread === 'few' ? 'pack' : 'spread',
      rule: form.spread === 'apart' || form.spread === 'together' ? form.spread : 'any',
      ...(form.where === 'some' ? { hostIds: form.hostIds } : {}),
    },
  };
}

function requestOf(
  form: CloneForm,
  source: Source,
  names: string[],
  identity: ReadIdentity['options'],
): CloneRequest {
  // What goes on from memory runs already, and is as large as it was: these fields are not offered then.
  const boots = form.mode !== 'memory';
  return {
    source,
    ...whereOf(form),
    mode: form.mode,
    names,
    options: cloneOptionsSchema.parse({
      start: !boots || form.start,
      waitForAgent: !boots || (form.start && form.waitForAgent),
      agentTimeoutSeconds: 180,
      tpm: boots ? form.tpm : 'new',
      verify: form.mode === 'full' && form.verify,
      refreshable: canRefresh(form) && form.refreshable,
      ...(!boots || form.vcpus === '' ? {} : { vcpus: form.vcpus }),
      ...(!boots || form.memoryMiB === '' ? {} : { memoryMiB: form.memoryMiB }),
      ...(form.network === null ? {} : { network: form.network }),
      identity,
    }),
  };
}

/** What names that are proposed for clones of a source begin with. "web-template" → "web". */
export const namePrefix = (sourceName: string): string =>
  sourceName.replace(/-?\d+$/, '').replace(/-?template$/, '') || sourceName;

/** A name to begin with: the source's, counted on to one that is free. "web-template" → "web-1". */
export function suggestName(sourceName: string, taken: ReadonlySet<string> = new Set()): string {
  const base = namePrefix(sourceName);
  let number = 1;
  while (taken.has(`${base}-${number}`)) number++;
  const name = `${base}-${number}`;
  return guestNameSchema.safeParse(name).success ? name : '';
}

/** "web-01, web-02, web-03 … web-30" */
export function namesInShort(names: readonly string[]): string {
  const last = names.at(-1);
  if (last === undefined) return '';
  return names.length <= 4 ? names.join(', ') : `${names.slice(0, 3).join(', ')} … ${last}`;
}

/** The names at fault of a refusal like `names.3`; undefined when the field is none of the names. */
export function nameAtFault(field: string | undefined, names: readonly string[]): string | undefined {
  const match = /names\.(\d+)$/.exec(field ?? '');
  return match?.[1] === undefined ? undefined : names[Number(match[1])];
}
