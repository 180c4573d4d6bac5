import { signedIn, type Signed } from './auth.ts';

export interface Context {
  signed: Signed | undefined;
  headers: Headers;
}

/** What every procedure gets: who asks. */
export async function createContext(request: Request): Promise<Context> {
  return { signed: await signedIn(request.headers), headers: request.headers };
}
