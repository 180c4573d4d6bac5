import { z } from 'zod';

/** Longest guest name accepted: fits a DNS label, a file name with a suffix, and every hypervisor planned for. */
export const MAX_NAME_LENGTH = 63;
/** Most guests one request may make. */
export const MAX_COUNT = 500;

/** A guest's name: starts with a letter or digit, then letters, digits, dot, dash and underscore. */
export const guestNameSchema = z
  .string({ error: 'A name is text.' })
  .min(1, 'Give it a name.')
  .max(MAX_NAME_LENGTH, `A name has at most ${MAX_NAME_LENGTH} characters.`)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
    'A name starts with a letter or digit and holds only letters, digits, dot, dash and underscore.',
  )
  .refine(
    (name) => !name.includes('..') && !name.endsWith('.'),
    'A name has no two dots in a row and no dot at its end.',
  );

export interface NameExpansion {
  names: string[];
  /** What is wrong with the pattern or the count, in words for the user; undefined when all is well. */
  problem?: string;
}

const RANGE = /\{(\d{1,6})\.\.(\d{1,6})\}/;

/** How many names the pattern's range holds: 30 for `web-{01..30}`. Undefined without a range, or when it runs backwards. */
export function rangeSize(pattern: string): number | undefined {
  const [, from, to] = RANGE.exec(pattern) ?? [];
  if (from === undefined || to === undefined || Number(to) < Number(from)) return undefined;
  return Number(to) - Number(from) + 1;
}

/**
 * Expands a pattern into `count` names. `web-{01..30}` counts from 01 with its width; a name without a range gets
 * `-1`, `-2`, … when count > 1 (padded to the width of count). With a range, `count` decides how many are taken
 * from its start; asking for more than the range holds is a problem.
 */
export function expandNames(pattern: string, count: number): NameExpansion {
  if (!Number.isInteger(count) || count < 1) return { names: [], problem: 'Make at least 1.' };
  if (count > MAX_COUNT) return { names: [], problem: `At most ${MAX_COUNT} guests in one request.` };
  const text = pattern.trim();
  const range = RANGE.exec(text);
  let names: string[];
  if (range) {
    const [whole, from = '', to = ''] = range;
    const first = Number(from);
    const last = Number(to);
    if (last < first) return { names: [], problem: `The range ${whole} runs backwards.` };
    const size = last - first + 1;
    if (count > size)
      return { names: [], problem: `The range ${whole} holds ${size} names, ${count} are asked for.` };
    names = Array.from({ length: count }, (_, i) =>
      text.replace(whole, String(first + i).padStart(from.length, '0')),
    );
  } else if (count === 1) {
    names = [text];
  } else {
    const width = String(count).length;
    names = Array.from({ length: count }, (_, i) => `${text}-${String(i + 1).padStart(width, '0')}`);
  }
  for (const name of names) {
    const parsed = guestNameSchema.safeParse(name);
    if (!parsed.success)
      return { names: [], problem: parsed.error.issues[0]?.message ?? 'That name can’t be used.' };
  }
  return { names };
}
