import { endedStates } from '@offshoot/clone-core/contract';
import { listHosts } from '../hosts.ts';
import { db } from '../services.ts';
import { operationInclude, operationView } from '../views/operation.ts';
import { procedure, router } from './init.ts';

export const overviewRouter = router({
  /** Is all well, what is happening: one answer for the first page. */
  get: procedure.query(async () => {
    const { prisma } = db();
    const active = { state: { notIn: [...endedStates] } };
    const [hosts, running, activeCount, recent, guests, sample] = await Promise.all([
      listHosts(),
      prisma.operation.findMany({
        where: active,
        include: operationInclude,
        orderBy: { id: 'asc' },
        take: 12,
      }),
      prisma.operation.count({ where: active }),
      prisma.operation.findMany({
        where: { state: { in: [...endedStates] } },
        include: operationInclude,
        orderBy: { finishedAt: { sort: 'desc', nulls: 'last' } },
        take: 8,
      }),
      prisma.guest.groupBy({ by: ['state'], _count: true }),
      prisma.templateVersion.findFirst({
        orderBy: [{ template: { createdAt: 'asc' } }, { number: 'desc' }],
        select: { id: true, number: true, template: { select: { name: true } } },
      }),
    ]);
    return {
      hosts,
      running: running.map(operationView),
      activeCount,
      recent: recent.map(operationView),
      guests: Object.fromEntries(guests.map((group) => [group.state, group._count])),
      sample: sample && { versionId: sample.id, label: `${sample.template.name} v${sample.number}` },
    };
  }),
});
