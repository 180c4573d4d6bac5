import type { Metadata } from 'next';
import { OperationsPage } from '../../../components/operation/OperationsPage.tsx';

export const metadata: Metadata = { title: 'Operations' };

export default function Page() {
  return <OperationsPage />;
}
