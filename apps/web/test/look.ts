/**
 * `tsx apps/web/test/look.ts FOLDER`: pictures of every page in two widths and both schemes, of a portal with a
 * simulated host. Build the web first.
 * `LOOK_ONLY=lineage` looks at some of them. Also says which pages scroll sideways or log an error.
 */
import { mkdir } from 'node:fs/promises';
import { generateInstallationKey } from '@offshoot/clone-core/identity/certificate';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { seedIdentities, type SeededIdentities } from './support/identities.ts';
import { answerQuestions, seedHypervisors } from './support/dialogs.ts';
import { seedFleet } from './support/fleet.ts';
import { startStack } from './support/stack.ts';

/** Pages to look at, as a pattern of their names. */
const only = new RegExp(process.env['LOOK_ONLY'] ?? '');
const folder = process.argv[2] ?? '/tmp/offshoot-look';
await mkdir(folder, { recursive: true });
const key = generateInstallationKey();
const stack = await startStack(
  { seed: 7, guests: 14, timeFactor: 1 },
  {
    OFFSHOOT_IDENTITY_KEY: key.privateKey,
    OFFSHOOT_SEAL_SECRET: 'a-seal-secret-for-looking-only-0123456789',
    OFFSHOOT_FLEET_POSTGRES: 'portal.example.org:7461',
    OFFSHOOT_FLEET_REDIS: 'portal.example.org:7462',
  },
);
let identities: SeededIdentities | undefined;
const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-background-networking', '--disable-quic'],
});
const problems: string[] = [];

try {
  const storage = await signIn(browser);
  const seeded = await seed(storage);
  for (const width of [1440, 390]) {
    for (const scheme of ['light', 'dark'] as const) {
      const context = await browser.newContext({
        storageState: storage,
        viewport: { width, height: width === 1440 ? 900 : 844 },
        colorScheme: scheme,
      });
      for (const [name, path] of Object.entries(seeded).filter(([name]) => only.test(name)))
        await look(context, `${name}-${width}-${scheme}`, path);
      await context.close();
    }
  }
} finally {
  await browser.close();
  await stack.close();
}
for (const problem of problems) console.log(problem);
console.log(`${folder}: ${problems.length} problems`);

async function signIn(browser: Browser) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await page.goto(stack.url);
  await page.screenshot({ path: join(folder, 'login.png') });
  await page.goto(stack.url + (await stack.loginLink()));
  await page.screenshot({ path: join(folder, 'login-link.png') });
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Account' }).waitFor();
  await page.screenshot({ path: join(folder, 'welcome.png') });
  const state = await context.storageState();
  await context.close();
  return state;
}

type State = Awaited<ReturnType<typeof signIn>>;

async function call(
  page: Page,
  path: string,
  input: object,
  type: 'query' | 'mutation' = 'query',
): Promise<unknown> {
  const response = await page.request.post(`${stack.url}/api/trpc/${path}`, {
    data: input,
    headers: { origin: stack.url },
  });
  const body = (await response.json()) as { result?: { data: unknown }; error?: { message: string } };
  if (!body.result) throw new Error(`${path} (${type}): ${body.error?.message ?? response.status()}`);
  return body.result.data;
}

/** Some templates and clones made through the API, one copy left running; answers the pages to look at. */
async function seed(storage: State): Promise<Record<string, string>> {
  const context = await browser.newContext({ storageState: storage });
  const page = await context.newPage();
  const once = (): string => crypto.randomUUID();
  const guests = (await call(page, 'guest.list', {})) as {
    guests: { id: string; name: string; state: string }[];
  };
  const guest = guests.guests.find(({ state }) => state === 'stopped') ?? guests.guests[0];
  if (!guest) throw new Error('the simulated host has no guest');
  const captured = (await call(
    page,
    'operation.create.capture',
    {
      idempotencyKey: once(),
      guestId: guest.id,
      template: { name: 'debian-12', description: 'Debian 12 with a guest agent' },
    },
    'mutation',
  )) as { operationIds: string[] };
  await ended(page, captured.operationIds[0] ?? '');
  const [template] = (await call(page, 'template.list', {})) as { id: string; versions: { id: string }[] }[];
  const versionId = template?.versions[0]?.id ?? '';
  const clone = async (mode: string, names: string[], options: object = {}) =>
    (await call(
      page,
      'operation.create.clone',
      {
        idempotencyKey: once(),
        request: { source: { type: 'template', versionId }, mode, names, options },
      },
      'mutation',
    )) as { batchId: string; operationIds: string[] };
  const done = await clone(
    'linked',
    Array.from({ length: Number(process.env['LOOK_CLONES'] ?? 14) }, (_, index) => `web-${index + 1}`),
  );
  for (const id of done.operationIds) await ended(page, id);
  const copied = await clone('full', ['same-1'], { start: false });
  await ended(page, copied.operationIds[0] ?? '');
  const same = (await call(page, 'guest.list', { search: 'same-1' })) as typeof guests;
  const compared = (await call(
    page,
    'operation.create.verify',
    { idempotencyKey: once(), guestId: same.guests[0]?.id, depth: 'whole' },
    'mutation',
  )) as { operationIds: string[] };
  await ended(page, compared.operationIds[0] ?? '');
  const full = await clone('full', ['db-1', 'db-2', 'db-3']);
  const fresh = (await call(page, 'guest.list', { search: 'web-1' })) as typeof guests;
  await seedFleet(stack.env['DATABASE_URL'] ?? '', Number(process.env['LOOK_HOSTS'] ?? 9));
  const moving = await seedHypervisors(stack.env['DATABASE_URL'] ?? '');
  identities = await seedIdentities(stack.env['DATABASE_URL'] ?? '', key.privateKey);
  await context.close();
  return {
    overview: '/',
    'guest-strict': `/guests/${identities.silent}`,
    'guest-scripted': `/guests/${identities.scripted}`,
    'guest-twin': `/guests/${identities.twin}`,
    'clone-identity': `/clone?source=template:${versionId}`,
    'clone-identity-wrong': `/clone?source=template:${versionId}`,
    certificate: '/certificates/verify',
    'certificate-changed': '/certificates/verify',
    guests: '/guests',
    'guests-look': '/guests?look=1',
    'clone-places': `/clone?source=template:${versionId}`,
    'operations-older': '/operations?before=ffffffff-ffff-7fff-bfff-ffffffffffff',
    guest: `/guests/${fresh.guests[0]?.id ?? ''}`,
    'guest-compared': `/guests/${same.guests[0]?.id ?? ''}`,
    'operation-compared': `/operations/${compared.operationIds[0] ?? ''}`,
    templates: '/templates',
    template: `/templates/${template?.id ?? ''}`,
    'template-cleaned': `/templates/${template?.id ?? ''}`,
    clone: `/clone?source=template:${versionId}`,
    'clone-guest': `/clone?source=guest:${guest.id}`,
    lineage: '/lineage',
    'lineage-guest': `/lineage?guest=${fresh.guests[0]?.id ?? ''}`,
    operations: '/operations',
    'operation-running': `/operations/${full.operationIds[0] ?? ''}`,
    'operation-queued': `/operations/${full.operationIds[2] ?? ''}`,
    'operation-finished': `/operations/${done.operationIds[0] ?? ''}`,
    batch: `/operations/batch/${full.batchId}`,
    hosts: '/hosts',
    'hosts-map': '/hosts',
    host: '/hosts/sim-1',
    'host-rack': '/hosts/rack-02',
    'host-bring': '/hosts/rack-02',
    'dialog-move': `/guests/${moving.running}`,
    'dialog-move-chosen': `/guests/${moving.running}`,
    'dialog-move-failed': `/guests/${moving.running}`,
    'dialog-export': `/guests/${moving.stopped}`,
    'dialog-export-version': `/templates/${template?.id ?? ''}`,
    'dialog-more': `/guests/${moving.stopped}`,
    'template-bring': `/templates/${template?.id ?? ''}`,
    'guest-foreign': `/guests/${guest.id}`,
    'joining-name': '/hosts',
    'joining-line': '/hosts',
    'joining-systemd': '/hosts',
    'joining-manage': '/hosts/sim-1',
    'joining-drain': '/hosts/sim-1',
    'joining-remove': '/hosts/sim-1',
    account: '/account',
    'not-found': '/nothing',
  };
}

async function ended(page: Page, id: string): Promise<void> {
  const deadline = Date.now() + 90_000;
  for (;;) {
    const { state } = (await call(page, 'operation.get', { id })) as { state: string };
    if (['finished', 'failed', 'cancelled', 'stale'].includes(state)) return;
    if (Date.now() > deadline) throw new Error(`operation ${id} is still ${state}`);
    await page.waitForTimeout(150);
  }
}

/** What has to be done on a page before there is something to see. */
async function act(page: Page, name: string): Promise<void> {
  if (name.startsWith('certificate')) {
    const text = identities?.certificate ?? '';
    await page
      .getByLabel('Certificate')
      .fill(name.startsWith('certificate-changed') ? text.replace('web-1', 'web-2') : text);
    await page.getByRole('button', { name: 'Check' }).click();
    await page
      .getByText(/genuine/i)
      .first()
      .waitFor();
  }
  if (name.startsWith('template-cleaned')) {
    const wish = page.getByRole('button', { name: 'Clean on clone', exact: true });
    if (await wish.isVisible()) await wish.click();
    await page
      .getByRole('button', { name: /^Keep in clones/ })
      .first()
      .waitFor();
  }
  if (name.startsWith('clone-places')) {
    await page.getByText(/^None on \d+ other hosts/).click();
    await page.getByText(/^None on \d+ other hosts/).scrollIntoViewIfNeeded();
  }
  if (name.startsWith('hosts-map')) {
    await page.getByText('Map', { exact: true }).click();
    await page.waitForTimeout(700);
  }
  if (name.startsWith('host-bring')) {
    await page.getByRole('button', { name: 'Bring a template here' }).click();
    await page.getByRole('dialog').getByLabel('Template').click();
    await page.getByRole('option').first().click();
    await page.waitForTimeout(600);
  }
  if (name.startsWith('template-bring')) {
    await page.getByRole('button', { name: /^Bring version/ }).click();
    await page.waitForTimeout(600);
  }
  if (name.startsWith('dialog-')) await actDialog(page, name);
  if (name.startsWith('joining-')) await actJoining(page, name);
  if (!name.startsWith('clone-identity')) return;
  await page.getByLabel('How many').fill('4');
  await page.getByRole('region', { name: 'Identity' }).getByRole('button').first().click();
  await page.getByText('Static', { exact: true }).click();
  const wrong = name.startsWith('clone-identity-wrong');
  await page.getByLabel('First address').fill(wrong ? '192.168.122.252/24' : '192.168.122.50/24');
  await page.getByLabel('Gateway').fill('192.168.122.1');
  await page.getByRole('button', { name: 'Add a user' }).click();
  await page.getByLabel('User', { exact: true }).fill(wrong ? 'Ann Other' : 'ann');
  await page.getByLabel('Password', { exact: true }).fill('a password');
  await page.getByLabel('First-boot script').fill(wrong ? 'reboot' : '#!/bin/sh\necho hello > /root/hello');
  if (!wrong) await page.getByText('Set', { exact: true }).waitFor();
  await page.waitForTimeout(900);
}

async function actDialog(page: Page, name: string): Promise<void> {
  if (name.startsWith('dialog-export-version')) {
    await page.getByRole('button', { name: /^Export version/ }).click();
  } else {
    await page.getByRole('button', { name: 'More' }).click();
    if (!name.startsWith('dialog-more')) {
      const item = name.startsWith('dialog-move') ? 'Move to another host' : 'Export for another hypervisor';
      await page.getByRole('menuitem', { name: item }).click();
    }
  }
  if (/^dialog-move-(chosen|failed)/.test(name)) {
    await page.getByRole('dialog').getByLabel('Host').click();
    await page.getByRole('option').first().click();
  }
  await page.waitForTimeout(name.startsWith('dialog-move-failed') ? 16_000 : 700);
}

async function actJoining(page: Page, name: string): Promise<void> {
  const [, what = ''] = name.split('-');
  if (['name', 'line', 'systemd'].includes(what)) {
    await page.getByRole('button', { name: 'Add host' }).click();
    // A token is made for each look, and a name is good for any number of them.
    await page.getByLabel('Name').fill('rack-3');
    if (what === 'name') return;
    await page.getByRole('button', { name: 'Make its line' }).click();
    await page.getByRole('tab', { name: 'One line' }).waitFor();
    if (what === 'systemd') await page.getByRole('tab', { name: 'systemd' }).click();
  } else {
    await page.getByRole('button', { name: 'Manage' }).click();
    if (what !== 'manage')
      await page.getByRole('menuitem', { name: what === 'drain' ? 'Drain' : 'Remove' }).click();
  }
  await page.waitForTimeout(600);
}

async function look(context: BrowserContext, name: string, path: string): Promise<void> {
  const page = await context.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('404'))
      problems.push(`${name}: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`${name}: ${error.message}`));
  if (!name.startsWith('dialog-move-failed')) await answerQuestions(page);
  await page.goto(stack.url + path);
  await page.locator('h1').first().waitFor();
  await page.waitForTimeout(900);
  await act(page, name);
  const sideways = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  if (sideways > 0) problems.push(`${name}: scrolls ${sideways} px sideways`);
  await page.screenshot({
    path: join(folder, `${name}.png`),
    fullPage: /identity|guest|template|host/.test(name) && !/bring|map|dialog/.test(name),
  });
  await page.close();
}
