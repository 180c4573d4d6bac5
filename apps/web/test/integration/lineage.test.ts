/** The lineage and the blast radius, from rows as clones leave them. */
import { randomUUID } from 'node:crypto';
import { registerHost } from '@offshoot/db/inventory';
import '@offshoot/db/testing/global-setup';
import { freshDatabase } from '@offshoot/db/testing/postgres';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { blastOfBase, blastOfGuests, lineageGraph } from '../../src/server/lineage.ts';
import { closeServices, db } from '../../src/server/services.ts';

let database: Awaited<ReturnType<typeof freshDatabase>>;
const ids: Record<string, string> = {};
const id = (name: string): string => (ids[name] ??= randomUUID());

async function guest(name: string, columns: Record<string, unknown> = {}): Promise<void> {
  const data = { id: id(name), hostId: 'h1', name, uuid: randomUUID(), state: 'stopped', managed: true };
  await db().prisma.guest.create({ data: { ...data, macs: [], ownedFiles: [], usedBytes: 7n, ...columns } });
}

async function base(name: string): Promise<void> {
  const sizes = { virtualBytes: 1000n, allocatedBytes: 100n };
  await db().prisma.base.create({
    data: { id: id(name), hostId: 'h1', digest: name, definition: '<domain/>', disks: [], ...sizes },
  });
}

beforeAll(async () => {
  database = await freshDatabase(inject('postgresUrl'));
  Object.assign(process.env, {
    DATABASE_URL: database.url,
    REDIS_URL: 'redis://127.0.0.1:1',
    BETTER_AUTH_SECRET: 'only-for-tests-0123456789abcdefghij',
  });
  await registerHost(db(), {
    id: 'h1',
    name: 'Host 1',
    kind: 'simulated',
    simulated: true,
    workerVersion: '1',
  });
  await base('sealed');
  await base('captured');
  await db().prisma.template.create({ data: { id: id('t'), name: 'sample' } });
  for (const number of [1, 2])
    await db().prisma.templateVersion.create({
      data: { id: id(`v${number}`), templateId: id('t'), number, baseId: id('sealed') },
    });
  await guest('alone');
  await guest('found', { managed: false });
  const version = { templateVersionId: id('v1'), sourceName: 'sample v1' };
  for (let at = 1; at <= 31; at++)
    await guest(`web-${at}`, { ...version, mode: 'linked', baseId: id('sealed'), state: 'running' });
  await guest('copy', { ...version, mode: 'full' });
  const source = { sourceGuestId: id('found'), sourceName: 'found' };
  await guest('child', { ...source, mode: 'linked', baseId: id('captured') });
  await guest('twin', { ...source, mode: 'full' });
});

afterAll(async () => {
  await closeServices();
  await database.drop();
});

it('hangs versions under templates, bases under what they hold, guests under what they stand on', async () => {
  const { nodes, unrelated, truncated } = await lineageGraph();
  const edges = Object.fromEntries(nodes.map((node) => [node.id, [node.parent, node.edge]]));
  expect(edges).toMatchObject({
    [`template:${id('t')}`]: [null, null],
    [`version:${id('v2')}`]: [`template:${id('t')}`, 'version'],
    [`base:${id('sealed')}`]: [`version:${id('v1')}`, 'stored as'],
    [`guest:${id('web-31')}`]: [`base:${id('sealed')}`, 'linked'],
    [`guest:${id('copy')}`]: [`version:${id('v1')}`, 'full'],
    [`guest:${id('found')}`]: [null, null],
    [`base:${id('captured')}`]: [`guest:${id('found')}`, 'captured as'],
    [`guest:${id('child')}`]: [`base:${id('captured')}`, 'linked'],
    [`guest:${id('twin')}`]: [`guest:${id('found')}`, 'full'],
  });
  expect(nodes.find((node) => node.name === 'web-1')).toMatchObject({ ownedBytes: 7, state: 'running' });
  expect(nodes.find((node) => node.id === `base:${id('sealed')}`)).toMatchObject({
    sharedBytes: 100,
    standing: 31,
  });
  expect({ unrelated, truncated }).toEqual({ unrelated: 1, truncated: false });
});

it('shows only the tree that a guest or a template is in', async () => {
  const ofChild = await lineageGraph({ type: 'guest', id: id('child') });
  expect(ofChild.nodes.map((node) => node.name).toSorted()).toEqual([
    'Base captured',
    'child',
    'found',
    'twin',
  ]);
  expect((await lineageGraph({ type: 'template', id: id('t') })).nodes).toHaveLength(1 + 2 + 1 + 32);
  expect((await lineageGraph({ type: 'guest', id: randomUUID() })).nodes).toEqual([]);
});

it('a base names the guests that block it, and those that go on without it', async () => {
  const blast = await blastOfBase(id('sealed'));
  expect(blast.blocking).toHaveLength(31);
  expect(blast.blocking[0]).toEqual({ id: id('web-1'), name: 'web-1', state: 'running', mode: 'linked' });
  expect(blast).toMatchObject({
    moreBlocking: 0,
    orphaned: [{ name: 'copy', mode: 'full' }],
    versions: ['sample v1', 'sample v2'],
  });
});

it('a guest names what was cloned from it, except what goes with it', async () => {
  expect((await blastOfGuests([id('found')])).orphaned.map(({ name }) => name)).toEqual(['child', 'twin']);
  expect((await blastOfGuests([id('found'), id('twin')])).orphaned.map(({ name }) => name)).toEqual([
    'child',
  ]);
  expect(await blastOfGuests([id('alone')])).toMatchObject({ blocking: [], orphaned: [], moreOrphaned: 0 });
});
