/** Hosts and a guest for the dialogs that simulated hosts refuse, and what their workers would answer. */
import { randomUUID } from 'node:crypto';
import type { GuestQuestion, PlanView } from '@offshoot/clone-core/contract';
import { openDatabase } from '@offshoot/db/client';
import type { Page } from 'playwright-core';
import { factsOf } from './fleet.ts';

const GIB = 1024 ** 3;
const names = ['hyper-1', 'hyper-2', 'hyper-3'] as const;

/** Three hosts of libvirt that no worker serves; resolves with the ids of a running and a stopped guest of the first. */
export async function seedHypervisors(databaseUrl: string): Promise<{ running: string; stopped: string }> {
  const db = openDatabase(databaseUrl);
  try {
    for (const [index, id] of names.entries())
      await db.prisma.host.create({
        data: {
          id,
          name: id,
          kind: 'libvirt',
          simulated: false,
          workerVersion: '0.1.0',
          facts: JSON.parse(JSON.stringify(factsOf(index + 5))) as object,
          heartbeatAt: new Date(Date.now() + (index === 2 ? -600_000 : 3_600_000)),
        },
      });
    const guest = async (name: string, state: string, mac: string): Promise<string> =>
      (
        await db.prisma.guest.create({
          data: {
            hostId: names[0],
            name,
            uuid: randomUUID(),
            state,
            mode: 'full',
            managed: true,
            vcpus: 2,
            memoryBytes: BigInt(2 * GIB),
            virtualBytes: BigInt(16 * GIB),
            usedBytes: BigInt(3 * GIB),
            macs: [mac],
            ownedFiles: [`/var/lib/offshoot/disks/${name}/vda.qcow2`],
          },
        })
      ).id;
    return {
      running: await guest('mail-1', 'running', '52:54:00:12:34:56'),
      stopped: await guest('mail-2', 'stopped', '52:54:00:12:34:57'),
    };
  } finally {
    await db.close();
  }
}

const plans: Partial<Record<GuestQuestion['kind'], Pick<PlanView, 'summary' | 'notes' | 'steps'>>> = {
  migrate: {
    summary: 'Move mail-1 to hyper-2',
    notes: [
      {
        level: 'info',
        text: 'It keeps running: its disks (3.0 GiB) and its memory (at most 2.0 GiB) are copied meanwhile. It stands still for less than a second at the end, longer if it writes faster than the link carries. Its connections stay open where its network is the same there.',
      },
      {
        level: 'info',
        text: 'It goes from here only when hyper-2 answers for it; until then nothing of it is changed here.',
      },
      {
        level: 'warn',
        text: 'Its network cards are connected to default there; its addresses may change.',
      },
    ],
    steps: ['Make room on hyper-2', 'Move it while it runs, with its memory', 'Delete its file here'].map(
      (title, index) => ({ id: String(index), kind: 'step', title }),
    ),
  },
  export: {
    summary: 'Export mail-2 as OVA, for VMware and VirtualBox',
    notes: [
      {
        level: 'info',
        text: 'It takes at most 3.0 GiB in /var/lib/offshoot/exports/mail-2-1f0c9ae2 on the host, and stays there until someone removes it.',
      },
      {
        level: 'warn',
        text: 'It boots by UEFI; its firmware settings are not part of it: choose UEFI where it is imported.',
      },
    ],
    steps: ['Write disk vda as vmdk', 'Pack it and take checksums'].map((title, index) => ({
      id: String(index),
      kind: 'step',
      title,
    })),
  },
};

/** Answers the page's questions about a guest or an export as a worker of the first host would. */
export async function answerQuestions(page: Page): Promise<void> {
  await page.route('**/api/trpc/preview.guest*', async (route) => {
    const question = route.request().postDataJSON() as { kind: GuestQuestion['kind'] };
    const plan = plans[question.kind === 'export-version' ? 'export' : question.kind];
    if (!plan) return route.continue();
    const estimates = { readBytes: 6 * GIB, moveBytes: 5 * GIB, storeBytes: 3 * GIB, seconds: 48 };
    const data = {
      plan: { ...plan, estimates, fingerprint: 'looked-at' },
      simulated: false,
      hostId: names[0],
    };
    return route.fulfill({ json: { result: { data } } });
  });
}
