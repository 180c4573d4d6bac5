import type { Metadata } from 'next';
import { LineagePage } from '../../../components/lineage/LineagePage.tsx';
import { idSchema } from '../../../lib/id.ts';

export const metadata: Metadata = { title: 'Lineage' };

export default async function Page({
  searchParams,
}: {
  searchParams: Promise<Record<string, string | string[] | undefined>>;
}) {
  const { guest, template } = await searchParams;
  const [guestId, templateId] = [idSchema.safeParse(guest), idSchema.safeParse(template)];
  const focus = guestId.success
    ? ({ type: 'guest', id: guestId.data } as const)
    : templateId.success
      ? ({ type: 'template', id: templateId.data } as const)
      : null;
  return <LineagePage key={focus?.id} focus={focus} />;
}
