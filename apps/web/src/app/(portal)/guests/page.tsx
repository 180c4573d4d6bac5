import type { Metadata } from 'next';
import { GuestsPage } from '../../../components/guest/GuestsPage.tsx';

export const metadata: Metadata = { title: 'Guests' };

export default function Page() {
  return <GuestsPage />;
}
