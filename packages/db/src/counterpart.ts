/** What a clone can be compared with: its base, the template version it was copied from, or its source guest. Pure. */

/** Columns of a guest's row that decide it. */
export interface Counterpart {
  mode: string | null;
  baseId: string | null;
  sourceGuestId: string | null;
  templateVersionId: string | null;
  sourceName: string | null;
}

/** Undefined: it is no clone, or what it was cloned from is gone. */
export function counterpartOf(
  guest: Omit<Counterpart, 'sourceName'>,
): { type: 'base' | 'guest' | 'template'; id: string } | undefined {
  if (guest.baseId !== null) return { type: 'base', id: guest.baseId };
  if (guest.sourceGuestId !== null) return { type: 'guest', id: guest.sourceGuestId };
  if (guest.templateVersionId !== null) return { type: 'template', id: guest.templateVersionId };
  return undefined;
}
