/** Runs before every page: a nonce for the content security policy, and the way to sign-in for whoever has no cookie. */
import { NextResponse, type NextRequest } from 'next/server';

const COOKIES = ['offshoot.session_token', '__Secure-offshoot.session_token'];

function policy(nonce: string): string {
  const development = process.env.NODE_ENV === 'development' ? " 'unsafe-eval'" : '';
  return [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${development}`,
    // The component library sets sizes and colours as style attributes.
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; ');
}

/** The page's real guard is its layout, which looks at the session itself; this only saves a round trip. */
export function proxy(request: NextRequest): NextResponse {
  const { pathname, search } = request.nextUrl;
  const open = pathname === '/login' || pathname.startsWith('/login/');
  if (!open && !COOKIES.some((name) => request.cookies.has(name))) {
    return relative(`/login?next=${encodeURIComponent(pathname + search)}`);
  }
  const nonce = btoa(crypto.randomUUID());
  const headers = new Headers(request.headers);
  const csp = policy(nonce);
  headers.set('x-nonce', nonce);
  headers.set('x-offshoot-path', pathname + search);
  headers.set('content-security-policy', csp);
  const response = NextResponse.next({ request: { headers } });
  response.headers.set('content-security-policy', csp);
  return response;
}

/** A redirect without a host name: right behind any proxy. */
function relative(location: string): NextResponse {
  return new NextResponse(null, { status: 307, headers: { Location: location } });
}

export const config = { matcher: ['/((?!api/|_next/|favicon.ico|icon.svg).*)'] };
