import { headers } from 'next/headers';
import { redirect } from 'next/navigation';
import type { ReactNode } from 'react';
import { Frame } from '../../components/shell/Frame.tsx';
import { Providers } from '../../components/shell/Providers.tsx';
import { pageSession } from '../../server/page.ts';

export default async function PortalLayout({ children }: { children: ReactNode }) {
  const incoming = await headers();
  const session = await pageSession(incoming);
  if (!session) redirect(`/login?next=${encodeURIComponent(incoming.get('x-offshoot-path') ?? '/')}`);
  return (
    <Providers cursor={session.cursor}>
      <Frame user={session.user}>{children}</Frame>
    </Providers>
  );
}
