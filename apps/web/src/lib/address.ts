/** What a list shows, kept in the page's address: a reload, a link and the way back find it again. */

/**
 * Changes some parameters of the page's address in place; null and the empty text remove one. `turning`: to another page of a
 * list, so that the browser's way back leads to the one before.
 */
export function changeAddress(
  part: Readonly<Record<string, string | null>>,
  { turning = false }: { turning?: boolean } = {},
): void {
  const params = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries(part))
    if (value === null || value === '') params.delete(name);
    else params.set(name, value);
  const text = params.toString();
  // Next.js follows it: https://nextjs.org/docs/app/getting-started/linking-and-navigating#native-history-api
  const address = text === '' ? window.location.pathname : `?${text}`;
  if (turning) window.history.pushState(null, '', address);
  else window.history.replaceState(null, '', address);
}

/** Anyone can write an address: what is none of the known values is left out. */
export const oneOf = <T extends string>(known: readonly T[], text: string | null): T | null =>
  known.find((each) => each === text) ?? null;

/** As far as the server takes one. */
export const searchOf = (params: URLSearchParams): string => (params.get('q') ?? '').slice(0, 200);

export function pageOf(params: URLSearchParams): number {
  const page = Number(params.get('page'));
  return Number.isInteger(page) && page >= 1 && page <= 100_000 ? page : 1;
}

interface Listed {
  search?: string | undefined;
  sort?: string | undefined;
  descending?: boolean | undefined;
  page?: number | undefined;
}

/** The parameters that all lists share, of a change to what is shown; `sort` by name and the first page go without. */
export function listAddress(part: Listed): Record<string, string | null> {
  const { search, sort, descending, page } = part;
  return {
    ...(search === undefined ? {} : { q: search }),
    ...(sort === undefined ? {} : { sort: sort === 'name' ? null : sort }),
    ...(descending === undefined ? {} : { order: descending ? 'down' : null }),
    ...(page === undefined ? {} : { page: page === 1 ? null : String(page) }),
  };
}
