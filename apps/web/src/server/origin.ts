/** Cross-site request checks: the portal works behind any host name, so a request's own host is what it is held against. */

/** The origin a browser sees this request at, from the proxy's headers or the Host header. */
export function requestOrigin(headers: Headers, url: string): string | undefined {
  const host = headers.get('x-forwarded-host') ?? headers.get('host');
  if (host === null) return undefined;
  const forwarded = headers.get('x-forwarded-proto')?.split(',')[0]?.trim();
  const protocol = forwarded ?? new URL(url, 'http://localhost').protocol.replace(':', '');
  return `${protocol}://${host}`;
}

/**
 * Whether a request that changes something comes from the portal's own pages. Programs that are no browser send
 * neither header and are let through: they hold no cookie that a person did not give them.
 * @param trusted further origins, such as the configured public address.
 */
export function isOwnOrigin(headers: Headers, url: string, trusted: readonly string[]): boolean {
  const site = headers.get('sec-fetch-site');
  const origin = headers.get('origin');
  if (origin === null) return site === null || site === 'same-origin' || site === 'none';
  // A page with a strict referrer policy hides its origin; the browser still vouches for the site.
  if (origin === 'null') return site === 'same-origin';
  if (trusted.includes(origin)) return true;
  const own = requestOrigin(headers, url);
  if (own === undefined) return false;
  // A proxy that ends TLS may not say so: the host decides, the scheme does not.
  return hostOf(origin) === hostOf(own);
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
