import { notFound } from 'next/navigation';
import { HostPage } from '../../../../components/host/HostPage.tsx';
import { hostIdSchema } from '@offshoot/clone-core/contract';

export default async function Page({ params }: { params: Promise<{ id: string }> }) {
  const id = hostIdSchema.safeParse((await params).id);
  if (!id.success) notFound();
  return <HostPage id={id.data} />;
}
