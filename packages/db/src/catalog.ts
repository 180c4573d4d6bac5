import type { Db } from './client.ts';
/** Templates by name, each with its versions (newest first), their base and how many children stand on it. */
export function listTemplates(db: Db) {
  return db.prisma.template.findMany({
    orderBy: { name: 'asc' },
    include: { versions: { orderBy: { number: 'desc' }, include: { base: { include: { _count: { select: { children: true } } } } } } },
  });
}
/** One version with its template and base; null when there is none. */
export function templateVersion(db: Db, id: string) {
  return db.prisma.templateVersion.findUnique({ where: { id }, include: { template: true, base: true } });
}
