import type { Metadata } from 'next';
import { GuestsPage } from '../../../components/guest/GuestsPage.tsx';

export const metadata: Metadata = { title: 'Guests' };

export default async function Page({
  searchParams,
}: {
  searchParams: Promise<{ host?: string | string[] }>;
}) {
  const { host } = await searchParams;
  return <GuestsPage initialHost={typeof host === 'string' ? host : null} />;
}
