import { notFound } from 'next/navigation';
import { GuestPage } from '../../../../components/guest/GuestPage.tsx';
import { idSchema } from '../../../../lib/id.ts';

export default async function Page({ params }: { params: Promise<{ id: string }> }) {
  const id = idSchema.safeParse((await params).id);
  if (!id.success) notFound();
  return <GuestPage id={id.data} />;
}
