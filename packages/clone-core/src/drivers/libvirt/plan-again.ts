/** What a guest is inside once its disks are replaced: carried over, or given again as when it was cloned. Pure. */
import type { CloneMode, PlanNote } from '../../contract.ts';
import type { Creation, GivenIdentity, GuestRef, IdSource } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { IdentityOutcome } from '../../identity/contract.ts';
import { awaitingIn, released } from './hold.ts';
import { linksOf } from './memory-limits.ts';
import type { Carry } from './plan-carry.ts';
import { planIdentity, type PlannedIdentity } from './plan-identity.ts';
import { info, warn, type DraftStep } from './plan-parts.ts';
import type { Awaiting, SourceFacts } from './types.ts';

export interface Inner {
  /** Once the new disks are there, before they are the guest's. */
  prepare: DraftStep[];
  /** Its definition, held back as far as it has to be. */
  hold: (xml: string) => string;
  /** Left out: nothing is given again. */
  outcome?: IdentityOutcome;
  /** After its start; none: nothing waits. */
  attest: DraftStep[];
  /** Nothing attests it, and its start notes that its drive was read. */
  unattested?: Awaiting;
  notes: PlanNote[];
  creates: Creation[];
}

interface Place {
  mode: Exclude<CloneMode, 'memory'>;
  /** What the guest has now. */
  definition: string;
  /** Of its files. */
  folder: string;
  /** Its new disks, by target. */
  files: Readonly<Record<string, { path: string; format: string }>>;
}

export function planInner(
  carry: Carry,
  request: { guest: GuestRef; identity?: GivenIdentity },
  source: SourceFacts,
  place: Place,
  ids: IdSource,
): Inner {
  const unchanged = { hold: (xml: string) => xml, attest: [], creates: [] };
  if (carry.why === undefined) return { ...unchanged, prepare: carry.steps, notes: carry.notes };
  const given = request.identity && planAgain(request.guest, request.identity, source, place, ids);
  if (given && 'awaiting' in given && given.awaiting.outcome.way !== 'none')
    return innerOf(given, request.identity, carry.why, place.definition);
  const more = given && 'refused' in given ? ` It can’t be given its identity again: ${given.refused}` : '';
  return {
    ...unchanged,
    prepare: [],
    notes: [
      warn(
        `Inside, it becomes what the new disks hold: host name, machine id and SSH host keys too, because ${carry.why}.${more}`,
      ),
    ],
  };
}

function planAgain(
  guest: GuestRef,
  { options, index, decided }: GivenIdentity,
  source: SourceFacts,
  { mode, definition, folder, files }: Place,
  ids: IdSource,
): PlannedIdentity | { refused: string } {
  const theirs = linksOf(source.definition);
  const own = linksOf(released(definition));
  try {
    return planIdentity(
      { mode, name: guest.name, index, options, decided },
      source,
      { guest, macs: own.map(({ mac }) => mac), folder, files },
      ids,
      own.map(({ mac, up }, nic) => ({ mac: theirs[nic]?.mac ?? mac, up })),
    );
  } catch (thrown) {
    // A guest is put back because it is needed: what was asked of its cloning is no reason to refuse.
    if (thrown instanceof OffshootError && thrown.code === 'invalid-input')
      return { refused: thrown.publicMessage };
    throw thrown;
  }
}

function innerOf(
  planned: PlannedIdentity,
  given: GivenIdentity | undefined,
  why: string,
  definition: string,
): Inner {
  const { awaiting, attest, hold } = planned;
  const { changed } = awaiting.outcome;
  // Its drive is still in it, with the same settings: undoing must leave it there.
  const kept = awaiting.drive && awaitingIn(definition)?.drive?.path === awaiting.drive.path;
  const anew = [
    ...(changed.includes('ssh-host-keys') ? ['SSH host keys'] : []),
    ...(changed.includes('sid') ? ['its security identifier (SID)'] : []),
  ];
  return {
    prepare: planned.prepare.filter(({ kind }) => kind !== 'write-seed' || !kept),
    hold: (xml) => hold(released(xml)),
    outcome: awaiting.outcome,
    attest,
    ...(awaiting.drive && attest.length === 0 ? { unattested: awaiting } : {}),
    notes: [
      warn(
        `Its identity inside can’t be carried over, because ${why}. It gets the one it was cloned with again${anew.length === 0 ? '' : `; ${anew.join(' and ')} are made anew`}. What was changed of it since is lost.`,
      ),
      ...(given?.forgotten
        ? [
            warn(
              'What else was asked for when it was cloned (users, packages, scripts) is not known any more and is not set up again.',
            ),
          ]
        : []),
      ...planned.notes,
    ],
    creates: kept ? [] : planned.creates,
  };
}

/** The start that follows, and what attests it. `waits`: seconds for the agent where nothing attests. */
export const startAs = (
  guest: GuestRef,
  { attest, unattested }: Inner,
  waits: number | undefined,
): DraftStep[] => {
  const seconds = attest.length === 0 ? waits : undefined;
  return [
    {
      kind: 'start',
      title: seconds === undefined ? `Start ${guest.name}` : 'Start and wait for its agent',
      guest,
      // Undo switches it off again: the disks that it was started on go then.
      ours: true,
      ...(seconds === undefined ? {} : { agentSeconds: seconds }),
      ...(unattested ? { notes: unattested } : {}),
    },
    ...attest,
  ];
};

/** Gives the guest the definition that holds it back; none: it has that already. */
export function holdStep(
  guest: GuestRef,
  { hold, outcome }: Inner,
  definition: string,
  store: string,
): DraftStep[] {
  const xml = outcome ? hold(definition) : definition;
  if (!outcome || xml === definition) return [];
  return [
    {
      kind: 'redefine',
      title: outcome.policy === 'off' ? 'Put its first settings in it' : 'Cut its network until it is itself',
      guest,
      xml,
      before: definition,
      scratch: `${store}/.define-${guest.uuid}.xml`,
      identity: outcome,
    },
  ];
}

/** What the preview adds for a guest that stays off. */
export const laterNotes = ({ outcome }: Inner): PlanNote[] =>
  outcome ? [info('All of that happens at its next start here.')] : [];
