/** The administrator's account and sign-in link, for the start tool. */
import { auth, LOGIN_LINK_SECONDS, tokenOf } from './auth.ts';
import { db } from './services.ts';

export const ADMIN_EMAIL = 'admin@offshoot.local';

/**
 * Makes the administrator once. Without a password the account has none until a person chooses one after signing in
 * by link, so there is no secret to lose. An existing account is left as it is.
 */
export async function ensureAdmin(password?: string): Promise<{ email: string; created: boolean }> {
  const found = await db().prisma.user.findUnique({ where: { email: ADMIN_EMAIL }, select: { id: true } });
  if (found) return { email: ADMIN_EMAIL, created: false };
  const { user } = await auth().api.createUser({
    body: {
      email: ADMIN_EMAIL,
      name: 'Administrator',
      role: 'admin',
      data: { emailVerified: true },
      ...(password === undefined ? {} : { password }),
    },
  });
  return { email: user.email, created: true };
}

/** A path that signs the administrator in once, good for a day. */
export async function loginLink(): Promise<{ path: string; expiresAt: string }> {
  const token = await tokenOf(() =>
    auth().api.signInMagicLink({ body: { email: ADMIN_EMAIL }, headers: new Headers() }),
  );
  if (token === undefined) throw new Error('better-auth made no sign-in token');
  const expiresAt = new Date(Date.now() + LOGIN_LINK_SECONDS * 1000).toISOString();
  return { path: `/login/link?token=${encodeURIComponent(token)}`, expiresAt };
}
