import type { Metadata } from 'next';
import { ClonePage } from '../../../components/clone/ClonePage.tsx';

export const metadata: Metadata = { title: 'New clone' };

export default async function Page({
  searchParams,
}: {
  searchParams: Promise<{ source?: string | string[] }>;
}) {
  const { source } = await searchParams;
  return <ClonePage initialSource={typeof source === 'string' ? source : null} />;
}
