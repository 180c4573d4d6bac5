import type { Metadata } from 'next';
import { SignInForm } from '../../components/account/SignInForm.tsx';
import { localPath } from '../../lib/local-path.ts';

export const metadata: Metadata = { title: 'Sign in' };

export default async function Page({
  searchParams,
}: {
  searchParams: Promise<{ next?: string | string[]; link?: string | string[] }>;
}) {
  const { next, link } = await searchParams;
  return <SignInForm next={localPath(next)} linkUsed={link === 'used'} />;
}
