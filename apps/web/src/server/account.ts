/** Choosing a password, with the old one or right after signing in by link. */
import { OffshootError } from '@offshoot/clone-core/errors';
import { isAPIError } from 'better-auth/api';
import { auth } from './auth.ts';
import { db } from './services.ts';

/** Holds better-auth's reset token after a sign-in by link, so that no old password is needed. */
export const CHOOSE_COOKIE = 'offshoot.choose-password';

/** Whether the user has a password at all. */
export async function hasPassword(userId: string): Promise<boolean> {
  const account = await db().prisma.account.findFirst({
    where: { userId, providerId: 'credential', password: { not: null } },
    select: { id: true },
  });
  return account !== null;
}

const chooseToken = (headers: Headers): string | undefined =>
  headers
    .get('cookie')
    ?.split(/;\s*/)
    .find((part) => part.startsWith(`${CHOOSE_COOKIE}=`))
    ?.slice(CHOOSE_COOKIE.length + 1);

/** Whether these headers carry the right to choose a password without the old one. */
export const mayChoosePassword = (headers: Headers): boolean => chooseToken(headers) !== undefined;

/** Sets the password. Throws `not-allowed` when the old one is wrong or the time after the link is over. */
export async function choosePassword(
  headers: Headers,
  input: { newPassword: string; currentPassword?: string | undefined },
): Promise<void> {
  const { newPassword, currentPassword } = input;
  const token = chooseToken(headers);
  try {
    if (currentPassword !== undefined && currentPassword !== '') {
      await auth().api.changePassword({
        body: { newPassword, currentPassword, revokeOtherSessions: false },
        headers,
      });
    } else if (token !== undefined) {
      await auth().api.resetPassword({ body: { newPassword, token } });
    } else {
      await auth().api.setPassword({ body: { newPassword }, headers });
    }
  } catch (error) {
    if (!isAPIError(error)) throw error;
    throw new OffshootError('not-allowed', {
      publicMessage:
        currentPassword === undefined || currentPassword === ''
          ? 'The time to choose a password without the old one is over.'
          : 'The current password is wrong.',
      remedy: 'Give the current password, or sign in with a new link from the start tool.',
      field: 'currentPassword',
      cause: error,
    });
  }
}

/** Ends every session of this user but this one. */
export async function signOutEverywhereElse(headers: Headers): Promise<void> {
  await auth().api.revokeOtherSessions({ headers });
}
