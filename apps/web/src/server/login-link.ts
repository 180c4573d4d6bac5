/** Spends a sign-in link: a session, and the right to choose a password without the old one. */
import { isAPIError } from 'better-auth/api';
import { auth, CHOOSE_PASSWORD_SECONDS, tokenOf } from './auth.ts';
import { CHOOSE_COOKIE } from './account.ts';
import { env } from './env.ts';
import { boundedRequest, refuseForeign } from './http.ts';

const to = (location: string, headers = new Headers()): Response => {
  headers.set('Location', location);
  headers.set('Cache-Control', 'no-store');
  return new Response(null, { status: 303, headers });
};

/** POST of the confirm page. A link that was used or is too old leads back to sign-in. */
export async function spendLoginLink(request: Request): Promise<Response> {
  const refused = refuseForeign(request);
  if (refused) return refused;
  const bounded = await boundedRequest(request);
  if (bounded instanceof Response) return bounded;
  const token = new URLSearchParams(await bounded.text()).get('token') ?? '';
  const verified = await verify(token, request.headers);
  if (!verified) return to('/login?link=used');
  const headers = new Headers();
  for (const cookie of verified.cookies) headers.append('Set-Cookie', cookie);
  const chooseToken = await tokenOf(() =>
    auth().api.requestPasswordReset({ body: { email: verified.email } }),
  );
  if (chooseToken !== undefined) {
    const secure = env().publicUrl?.startsWith('https:') ? '; Secure' : '';
    headers.append(
      'Set-Cookie',
      `${CHOOSE_COOKIE}=${chooseToken}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${CHOOSE_PASSWORD_SECONDS}${secure}`,
    );
  }
  return to('/account?welcome=1', headers);
}

async function verify(
  token: string,
  headers: Headers,
): Promise<{ email: string; cookies: string[] } | undefined> {
  try {
    const answer = await auth().api.magicLinkVerify({ query: { token }, headers, returnHeaders: true });
    return { email: answer.response.user.email, cookies: answer.headers.getSetCookie() };
  } catch (error) {
    // A wrong token is answered with a redirect to an error address, which better-auth throws.
    if (isAPIError(error)) return undefined;
    throw error;
  }
}
