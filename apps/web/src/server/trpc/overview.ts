import { endedStates } from '@offshoot/clone-core/contract';
import { fleetSums, hostPage } from '../hosts/list.ts';
import { db } from '../services.ts';
import { operationInclude, operationView } from '../views/operation.ts';
import { procedure, router } from './init.ts';

/** Hosts that the first page shows; those that need someone come first. */
const SHOWN_HOSTS = 4;

export const overviewRouter = router({
  /** Is all well, what is happening: one answer for the first page. */
  get: procedure.query(async () => {
    const { prisma } = db();
    const active = { state: { notIn: [...endedStates] } };
    const [{ hosts }, fleet, running, activeCount, recent, sample] = await Promise.all([
      hostPage({ sort: 'state', pageSize: SHOWN_HOSTS }),
      fleetSums(),
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
      prisma.templateVersion.findFirst({
        orderBy: [{ template: { createdAt: 'asc' } }, { number: 'desc' }],
        select: { id: true, number: true, template: { select: { name: true } } },
      }),
    ]);
    return {
      hosts,
      fleet,
      running: running.map(operationView),
      activeCount,
      recent: recent.map(operationView),
      sample: sample && { versionId: sample.id, label: `${sample.template.name} v${sample.number}` },
    };
  }),
});
