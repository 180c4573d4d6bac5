import { someAttestation, someOutcome } from '@offshoot/db/testing/identity';
import { openDatabase } from '@offshoot/db/client';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defineGuest, removeGuest } from '@offshoot/tools/lab/host';
import { clone, cloneButton, fillClone } from './support/clone-page.ts';
import { expect, newName, stack, test, type Page } from './support/test.ts';

const section = (page: Page) => page.getByRole('region', { name: 'Identity' });

test('two guests made beside the portal with one MAC: an alarm names both, and goes when one of them does', async ({
  page,
}) => {
  const [one, two] = [newName('twin-a'), newName('twin-b')];
  const mac = '52:54:00:e2:e0:01';
  const disk = async (name: string): Promise<string> => {
    const path = join(stack.folder, `${name}.qcow2`);
    await copyFile(join(stack.folder, 'small.qcow2'), path);
    return path;
  };
  await page.goto('/');
  const alarms = page.getByRole('region', { name: 'Shared identities' });
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
  await expect(alarms).toBeHidden();
  try {
    for (const name of [one, two]) await defineGuest(name, { disks: [{ path: await disk(name) }], mac });
    await expect(alarms).toContainText(`${one} and ${two} have the same MAC address`);
    await expect(alarms).toContainText('Give one of them another MAC address');
    await alarms.getByRole('link', { name: two }).click();
    await expect(page.getByRole('heading', { level: 1, name: two })).toBeVisible();
    await expect(alarms).toContainText(mac);
    await page.goto('/guests');
    await expect(alarms).toBeVisible();
    await removeGuest(two);
    await expect(alarms).toBeHidden();
  } finally {
    for (const name of [one, two]) await removeGuest(name);
  }
});

test('what is wrong with an identity is told at its field, and no address is given twice', async ({
  page,
}) => {
  await fillClone(page, {
    source: 'sample',
    kind: 'Linked',
    name: newName('id-{1..3}'),
    count: 3,
    start: false,
  });
  await section(page).getByRole('button').first().click();
  // What is left out is said in the plan, with its consequence.
  const plan = page.getByRole('region', { name: 'What will happen' });
  await page.getByLabel('Authorised SSH keys').check();
  await expect(plan).toContainText('Left out: its source’s authorised SSH keys.');
  await expect(plan).toContainText('No SSH key will be in it');
  await page.getByLabel('Authorised SSH keys').uncheck();
  await expect(plan).not.toContainText('Left out');

  await page.getByText('Static', { exact: true }).click();
  const first = page.getByLabel('First address');
  await first.fill('10.77.0.253/24');
  await expect(page.getByRole('list', { name: 'Addresses' })).toContainText('10.77.0.254/24');
  await expect(
    page.getByText(/would get 10\.77\.0\.255\/24, but it is the network’s broadcast/).first(),
  ).toBeVisible();
  await expect(cloneButton(page)).toBeDisabled();
  await first.fill('10.77.0.300/24');
  await expect(first).toHaveAttribute('aria-invalid', 'true');
  await page.getByText('As the source', { exact: true }).click();

  await page.getByRole('button', { name: 'Add a user' }).click();
  const user = page.getByLabel('User', { exact: true });
  await user.fill('Ann Other');
  await expect(user).toHaveAttribute('aria-invalid', 'true');
  await user.fill('ann');
  await expect(user).not.toHaveAttribute('aria-invalid', 'true');
  const asked: string[] = [];
  page.on(
    'request',
    (request) => void (request.url().includes('hashPassword') || asked.push(request.postData() ?? '')),
  );
  const password = 'not to be seen again';
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByLabel('Password', { exact: true }).press('Tab');
  await expect(page.getByRole('button', { name: 'Remove: Password' })).toBeVisible();
  await expect(section(page).getByRole('button').first()).toContainText('1 user');
  // The preview that follows carries the hash, never what was typed.
  await expect.poll(() => asked.some((body) => body.includes('$2b$12$'))).toBe(true);
  expect(asked.join('\n')).not.toContain(password);
});

test('a text that is no certificate proves nothing, and the page says what does', async ({ page }) => {
  await page.goto('/certificates/verify');
  await page.getByLabel('Certificate').fill('{"body":{}}');
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  await expect(page.getByText('Not genuine')).toBeVisible();
  await expect(page.getByRole('button', { name: /^Copy SHA256:/ })).toBeVisible();
});

test('a clone’s page says what is known of its identity', async ({ page }) => {
  const name = newName('who');
  await clone(page, { source: 'sample', kind: 'Linked', name, start: false });
  await page.getByRole('link', { name: `Open ${name}` }).click();
  await expect(page.getByRole('heading', { level: 2, name: 'Identity' })).toBeVisible();
});

test('a clone that did not prove itself, and one whose first-boot script failed, are marked among the guests', async ({
  page,
}) => {
  const db = openDatabase(stack.databaseUrl);
  const host = newName('marks');
  const { attested: _none, linkUpAt: _down, ...silent } = someOutcome('a');
  const scripted = { ...someOutcome('b'), changed: ['first-boot-script'] };
  const json = (value: object): object => JSON.parse(JSON.stringify(value)) as object;
  const guest = { state: 'running', managed: true, mode: 'linked' } as const;
  try {
    // Of a host that no worker serves: only its rows are there.
    await db.prisma.host.create({
      data: {
        id: host,
        name: host,
        kind: 'simulated',
        simulated: true,
        guests: {
          create: [
            {
              ...guest,
              name: `${host}-a`,
              identity: json({ ...silent, verdict: 'silent', policy: 'strict', problems: ['No answer.'] }),
            },
            {
              ...guest,
              name: `${host}-b`,
              identity: json(scripted),
              attested: json(someAttestation('b', { firstBoot: 3 })),
            },
          ],
        },
      },
    });
    await page.goto('/guests');
    await page.getByRole('link', { name: /needs? a look$/ }).click();
    await expect(page.getByPlaceholder('Any state')).toHaveValue('Needs a look');
    await page.getByLabel('Search guests').fill(host);
    const row = (name: string) => page.getByRole('row').filter({ hasText: `${host}-${name}` });
    await expect(row('a')).toContainText('not proven, network off');
    await expect(row('a')).not.toContainText('script failed');
    await expect(row('b')).toContainText('first-boot script failed');
    await expect(row('b')).not.toContainText('not proven');
    await row('b')
      .getByRole('link', { name: `${host}-b` })
      .click();
    await expect(page.getByText('First-boot script ended with 3')).toBeVisible();
    await expect(page.getByText('/var/log/offshoot-first-boot.log inside the guest says why')).toBeVisible();
  } finally {
    await db.pool.query('DELETE FROM "guest" WHERE "hostId" = $1', [host]);
    await db.pool.query('DELETE FROM "host" WHERE "id" = $1', [host]);
    await db.close();
  }
});
