/** Where to go after signing in: only ever a path of the portal itself. */
export function localPath(next: string | string[] | undefined): string {
  if (typeof next !== 'string' || !next.startsWith('/') || next.startsWith('//') || next.includes('\\'))
    return '/';
  // What a URL parser makes of it decides: "/\t/host" is another site to a browser.
  const parsed = URL.canParse(next, 'http://portal.invalid')
    ? new URL(next, 'http://portal.invalid')
    : undefined;
  if (
    parsed?.host !== 'portal.invalid' ||
    parsed.pathname.startsWith('//') ||
    parsed.pathname.startsWith('/login')
  )
    return '/';
  return parsed.pathname + parsed.search;
}
