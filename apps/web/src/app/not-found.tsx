import { headers } from 'next/headers';
import { Frame } from '../components/shell/Frame.tsx';
import { NothingHere } from '../components/shell/NothingHere.tsx';
import { Providers } from '../components/shell/Providers.tsx';
import { pageSession } from '../server/page.ts';

/** With everything around it for those who are signed in: from a wrong address one goes on by the menu or the search. */
export default async function NotFound() {
  const session = await pageSession(await headers());
  if (!session)
    return (
      <main>
        <NothingHere />
      </main>
    );
  return (
    <Providers cursor={session.cursor}>
      <Frame user={session.user}>
        <NothingHere />
      </Frame>
    </Providers>
  );
}
