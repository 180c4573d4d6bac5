import { db } from './services.ts';
import { hostView, type HostView } from './views/host.ts';

const include = { workers: { select: { revokedAt: true, via: true } } } as const;

/** All hosts by name, with how many guests each has. */
export async function listHosts(): Promise<HostView[]> {
  const [rows, counts] = await Promise.all([
    db().prisma.host.findMany({ orderBy: { name: 'asc' }, include }),
    guestCounts(),
  ]);
  const now = Date.now();
  return rows.map((row) => hostView(row, counts(row.id), now));
}

/** One host; null when there is none. */
export async function hostById(id: string): Promise<HostView | null> {
  const [row, counts] = await Promise.all([
    db().prisma.host.findUnique({ where: { id }, include }),
    guestCounts(),
  ]);
  return row && hostView(row, counts(row.id), Date.now());
}

async function guestCounts(): Promise<(hostId: string) => { total: number; running: number }> {
  const groups = await db().prisma.guest.groupBy({ by: ['hostId', 'state'], _count: true });
  return (hostId) => {
    const own = groups.filter((group) => group.hostId === hostId);
    const sum = (list: typeof own): number => list.reduce((total, group) => total + group._count, 0);
    return { total: sum(own), running: sum(own.filter((group) => group.state === 'running')) };
  };
}
