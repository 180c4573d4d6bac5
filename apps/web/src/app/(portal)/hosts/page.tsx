import type { Metadata } from 'next';
import { HostsPage } from '../../../components/host/HostsPage.tsx';

export const metadata: Metadata = { title: 'Hosts' };

export default function Page() {
  return <HostsPage />;
}
