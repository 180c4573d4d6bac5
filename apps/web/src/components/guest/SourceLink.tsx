import Link from 'next/link';
import type { GuestSource } from '../../server/views/guest.ts';
import { Quiet } from '../display/Text.tsx';

/** What it was cloned from. */
export function SourceLink({ source }: { source: GuestSource | null }) {
  if (source === null) return <Quiet>–</Quiet>;
  if (source.type === 'gone') return <Quiet>{source.label} (gone)</Quiet>;
  const href = source.type === 'guest' ? `/guests/${source.id}` : `/templates/${source.id}`;
  return (
    <Link className="thing" style={{ fontWeight: 400 }} href={href}>
      {source.label}
    </Link>
  );
}
