/** Sign-in and sign-out over the portal's auth doors. */

/** Undefined: signed in. Otherwise what to tell the user. */
export async function signIn(email: string, password: string): Promise<string | undefined> {
  const response = await post('/api/auth/sign-in/email', { email, password });
  if (response.ok) return undefined;
  if (response.status === 429) return 'Too many tries. Wait a few minutes and try again.';
  if (response.status === 401 || response.status === 400)
    return 'That email and password don’t belong together.';
  return 'The portal can’t check your password right now. Try again in a moment.';
}

/** Ends this session and goes to the sign-in page. */
export async function signOut(): Promise<void> {
  await post('/api/auth/sign-out', {});
  window.location.assign('/login');
}

function post(path: string, body: object): Promise<Response> {
  return fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
}
