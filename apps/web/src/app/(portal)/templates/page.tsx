import type { Metadata } from 'next';
import { TemplatesPage } from '../../../components/template/TemplatesPage.tsx';

export const metadata: Metadata = { title: 'Templates' };

export default function Page() {
  return <TemplatesPage />;
}
