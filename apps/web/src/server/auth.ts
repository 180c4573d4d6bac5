/** Sessions by better-auth on the tables of packages/db. Nobody can sign up; an administrator is made by `admin.ts`. */
import { betterAuth } from 'better-auth';
import { prismaAdapter } from 'better-auth/adapters/prisma';
import { admin } from 'better-auth/plugins/admin';
import { magicLink } from 'better-auth/plugins/magic-link';
import { AsyncLocalStorage } from 'node:async_hooks';
import { env } from './env.ts';
import { db } from './services.ts';
import { requestOrigin } from './origin.ts';

/** Seconds a sign-in link of the start tool stays good. */
export const LOGIN_LINK_SECONDS = 24 * 60 * 60;
/** Seconds to choose a password after signing in by link. */
export const CHOOSE_PASSWORD_SECONDS = 30 * 60;

/** Tokens that better-auth would mail are collected here: links are printed or kept in a cookie, never sent. */
const outbox = new AsyncLocalStorage<{ token?: string }>();

function build() {
  const { authSecret, publicUrl } = env();
  const keep = (token: string): Promise<void> => {
    const box = outbox.getStore();
    if (box) box.token = token;
    return Promise.resolve();
  };
  return betterAuth({
    appName: 'Offshoot',
    secret: authSecret,
    baseURL: publicUrl ?? 'http://localhost',
    basePath: '/api/auth',
    database: prismaAdapter(db().prisma, { provider: 'postgresql' }),
    trustedOrigins: (request) => {
      const origins = ['http://localhost:*', 'http://127.0.0.1:*'];
      if (publicUrl !== undefined) origins.push(new URL(publicUrl).origin);
      const own = request ? requestOrigin(request.headers, request.url) : undefined;
      if (own !== undefined) origins.push(own);
      return origins;
    },
    emailAndPassword: {
      enabled: true,
      disableSignUp: true,
      minPasswordLength: 10,
      revokeSessionsOnPasswordReset: false,
      resetPasswordTokenExpiresIn: CHOOSE_PASSWORD_SECONDS,
      sendResetPassword: ({ token }) => keep(token),
    },
    session: { expiresIn: 7 * 24 * 60 * 60, updateAge: 24 * 60 * 60 },
    rateLimit: {
      enabled: true,
      window: 60,
      max: 300,
      customRules: { '/sign-in/email': { window: 60, max: 20 } },
    },
    advanced: {
      cookiePrefix: 'offshoot',
      useSecureCookies: publicUrl?.startsWith('https:') ?? false,
      defaultCookieAttributes: { sameSite: 'lax', httpOnly: true },
    },
    plugins: [
      admin(),
      magicLink({
        expiresIn: LOGIN_LINK_SECONDS,
        disableSignUp: true,
        storeToken: 'hashed',
        sendMagicLink: ({ token }) => keep(token),
      }),
    ],
    telemetry: { enabled: false },
  });
}

export type Auth = ReturnType<typeof build>;
const holder = globalThis as typeof globalThis & { offshootAuth?: Auth };

/** The auth instance, built at first use. */
export const auth = (): Auth => (holder.offshootAuth ??= build());

/** Runs `ask`, which makes better-auth send one token, and answers that token instead. Undefined: nothing was sent. */
export async function tokenOf(ask: () => Promise<unknown>): Promise<string | undefined> {
  const box: { token?: string } = {};
  await outbox.run(box, ask);
  return box.token;
}

export interface Signed {
  userId: string;
  sessionId: string;
  sessionToken: string;
  name: string;
  email: string;
  role: string;
  expiresAt: Date;
}

/** Who sent these headers; undefined without a live session. */
export async function signedIn(headers: Headers): Promise<Signed | undefined> {
  const found = await auth().api.getSession({ headers });
  if (!found) return undefined;
  const { user, session } = found;
  return {
    userId: user.id,
    sessionId: session.id,
    sessionToken: session.token,
    name: user.name,
    email: user.email,
    role: user.role ?? 'user',
    expiresAt: session.expiresAt,
  };
}
