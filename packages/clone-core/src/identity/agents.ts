/**
 * Agents that know their machine by files: two machines with the same files are one to their server. Data, which users extend
 * with a file of their own. None of these was run here.
 */
import { z } from 'zod';
import { agentsFile } from '../agents-file.ts';
import { OffshootError } from '../errors.ts';
import type { DecidedIdentity } from './contract.ts';
import type { InsideEdit } from './edits.ts';
import shipped from './agents.json' with { type: 'json' };

/** Absolute; `*` stands for any characters but `/`. Nothing a shell or a path could take otherwise. */
const patternSchema = z
  .string()
  .max(200)
  .regex(/^(\/[A-Za-z0-9._@+*-]+)+$/, 'A path is absolute, of letters, digits, dots, dashes, @, + and *.')
  .refine((path) => !path.split('/').includes('..'), 'A path holds no “..”.')
  .refine((path) => (path.match(/\//g) ?? []).length >= 2, 'A path is at least two deep.');
const fixedPathSchema = patternSchema.refine((path) => !path.includes('*'), 'This path holds no *.');

export const agentStateSchema = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]{1,40}$/, 'An id is lower-case letters, digits and dashes.'),
  name: z.string().min(1).max(80),
  /** The agent is in the guest when any of these is there. */
  detect: z.array(patternSchema).min(1).max(20),
  /** What makes it the machine it is: taken away, it becomes a new one. */
  remove: z.array(patternSchema).max(40).default([]),
  /** Emptied, because the agent does not start without the file. */
  empty: z.array(patternSchema).max(20).default([]),
  /** Settings that name the machine. `{hostname}` and `{fqdn}` are replaced. Nothing is added where none matches. */
  lines: z
    .array(
      z.strictObject({
        path: fixedPathSchema,
        /** Text a line begins with, after spaces: `Hostname=`. */
        begins: z
          .string()
          .min(1)
          .max(60)
          .regex(/^[A-Za-z0-9_.:=" -]+$/),
        line: z
          .string()
          .max(200)
          .regex(/^[A-Za-z0-9_.:={}"' -]*$/),
      }),
    )
    .max(10)
    .default([]),
  /** systemd units that hold the old state: restarted when it is reset in a running guest. */
  services: z
    .array(z.string().regex(/^[A-Za-z0-9@._-]{1,80}$/))
    .max(10)
    .default([]),
  /** What becomes of it then: a sentence. */
  note: z.string().min(1).max(300),
  /** Documentation of the agent: of this state where there is a page on it. */
  source: z.url(),
});
export type AgentState = z.infer<typeof agentStateSchema>;

const listSchema = z
  .array(agentStateSchema)
  .max(500)
  .refine((all) => new Set(all.map((agent) => agent.id)).size === all.length, 'Two agents have the same id.');

const shippedAgents: readonly AgentState[] = listSchema.parse(shipped);

/**
 * The shipped list with a user's own (the text of a JSON file: an array of the same entries). One with a shipped id takes its
 * place. Throws `invalid-input` with the entry and field at fault.
 */
export function withUserAgents(text: string, base: readonly AgentState[] = shippedAgents): AgentState[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refuse('it is no JSON', cause);
  }
  const parsed = listSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const at = issue?.path.length ? ` at ${issue.path.join('.')}` : '';
    throw refuse(`${issue?.message ?? 'it does not fit'}${at}`, parsed.error);
  }
  const ids = new Set(parsed.data.map((agent) => agent.id));
  return [...base.filter((agent) => !ids.has(agent.id)), ...parsed.data];
}

const own = agentsFile();
/** What is shipped, with what a user's own file adds: nobody may believe that an agent is reset which is not. */
export const agents: readonly AgentState[] = own === undefined ? shippedAgents : withUserAgents(own);

function refuse(why: string, cause: unknown): OffshootError {
  return new OffshootError('invalid-input', {
    publicMessage: `The list of agents can’t be used: ${why}.`,
    remedy: 'Write it like the shipped one: id, name, detect, remove, note and source per agent.',
    field: 'agents',
    cause,
  });
}

/** Of some nothing can be taken away from outside: they are in the list to be said. */
export const resettable = ({ remove, empty, lines }: AgentState): boolean =>
  remove.length + empty.length + lines.length > 0;

/** The agents to reset: those asked for, of those found inside. `found` unset: nothing looked, all that are asked for. */
export function agentsToReset(
  wanted: 'found' | readonly string[],
  found: readonly string[] | undefined,
  list: readonly AgentState[] = agents,
): AgentState[] {
  if (wanted === 'found') return list.filter((agent) => found?.includes(agent.id) ?? false);
  return list.filter((agent) => wanted.includes(agent.id) && (found?.includes(agent.id) ?? true));
}

export const fillIn = (line: string, decided: DecidedIdentity): string =>
  line.replaceAll('{hostname}', decided.hostname).replaceAll('{fqdn}', decided.fqdn ?? decided.hostname);

const removing = (pattern: string): InsideEdit => ({ type: 'remove', pattern });
const emptying = (pattern: string): InsideEdit => ({ type: 'empty', pattern });
const lineEdits = (agent: AgentState, decided: DecidedIdentity): InsideEdit[] =>
  agent.lines.map(({ path, begins, line }) => ({
    type: 'line',
    path,
    match: `^\\s*${begins.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)}`,
    line: fillIn(line, decided),
    add: false,
  }));

/** A reset as edits of the disks of a guest that stands still. */
export function agentEdits(list: readonly AgentState[], decided: DecidedIdentity): InsideEdit[] {
  return list.flatMap((agent) => [
    ...agent.remove.map(removing),
    ...agent.empty.map(emptying),
    ...lineEdits(agent, decided),
  ]);
}

/** How a guest whose disks are replaced keeps the ids that its own agents have by now. */
export interface CarriedState {
  /** Of the new disks, before: nothing of the source's agents is left in them. */
  edits: InsideEdit[];
  /** What the guest has is carried over, what only the source has goes. */
  patterns: string[];
  /** What the guest has is carried over, what only the source has was emptied: its agent does not start without the file. */
  emptied: string[];
}

/** Caches may be large and are built again; they only must not be the source's. */
const isCache = (pattern: string): boolean => /^\/(var\/cache|tmp)\//.test(pattern);
/** State may be a folder (keys by kind, a database): files are what is carried, so deep. */
const below = (pattern: string): string[] => ['', '/*', '/*/*'].map((more) => `${pattern}${more}`);

/** `decided` unset: what names the machine in settings is not known any more, and stays as in the source. */
export function carriedState(
  list: readonly AgentState[],
  decided: DecidedIdentity | undefined,
): CarriedState {
  const state = list.flatMap((agent) => agent.remove);
  const emptied = list.flatMap((agent) => agent.empty);
  return {
    edits: [
      ...state.filter(isCache).map(removing),
      ...emptied.map(emptying),
      ...(decided === undefined ? [] : list.flatMap((agent) => lineEdits(agent, decided))),
    ],
    patterns: state.filter((pattern) => !isCache(pattern)).flatMap(below),
    emptied,
  };
}

/** A reset as words for the scripts that run inside: `takeIdentity` and `settleSeed`. */
export function agentWords(list: readonly AgentState[], decided: DecidedIdentity): string[] {
  return list.flatMap((agent) => [
    ...agent.services.map((unit) => `stop=${unit}`),
    ...agent.remove.map((pattern) => `remove=${pattern}`),
    ...agent.empty.map((pattern) => `empty=${pattern}`),
    ...agent.lines.map(({ path, begins, line }) => `line=${path}|${begins}|${fillIn(line, decided)}`),
    ...agent.services.map((unit) => `start=${unit}`),
  ]);
}
