import { openDatabase } from '@offshoot/db/client';
import { clone } from './support/clone-page.ts';
import { expect, newName, stack, test, type Page } from './support/test.ts';

const shows = (page: Page, words: string) => expect(page.getByText(words)).toBeVisible({ timeout: 45_000 });
const dialog = (page: Page) => page.getByRole('dialog');

test('what a snapshot, a revert, a new version, a reset and a detachment do is told before the click', async ({
  page,
}) => {
  const name = newName('changes');
  await clone(page, { source: 'sample', kind: 'Linked', name, start: false });
  await shows(page, `${name} is ready`);
  await page.getByRole('link', { name: `Open ${name}` }).click();
  await page.waitForURL(/\/guests\//);
  const address = page.url();

  await page.getByRole('button', { name: 'Take snapshot' }).click();
  await expect(dialog(page)).toContainText(`of ${name}`);
  await expect(dialog(page)).toContainText('the snapshot holds its disks and no memory');
  await dialog(page).getByLabel('Name').fill('before');
  await dialog(page).getByRole('button', { name: 'Take snapshot' }).click();
  await page.getByRole('button', { name: 'Revert to before' }).click();
  await expect(dialog(page)).toContainText('since before was taken is lost');
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Remove before' }).click();
  await expect(dialog(page)).toContainText('What only this snapshot holds is lost');
  await dialog(page).getByRole('button', { name: 'Remove' }).click();
  await expect(page.getByText('No snapshot yet')).toBeVisible();

  // Of a clone of a template the likely wish is the template's next version.
  await page.getByRole('button', { name: 'Make template' }).click();
  await expect(dialog(page).getByLabel('Template')).toHaveValue('sample');
  await expect(dialog(page)).toContainText(/Capture .* as sample/);
  await expect(dialog(page)).toContainText(/moves .* · stores .* · about/);
  // Under a name of its own here: other tests count the sample's versions.
  await dialog(page).getByLabel('Template').fill(`${name}-image`);
  await expect(dialog(page)).toContainText(`as ${name}-image`);
  await dialog(page).getByRole('button', { name: 'Make template' }).click();
  await page.waitForURL(/\/operations\//);
  await shows(page, 'Its disks are stored');

  await page.goto('/templates');
  await page.getByRole('link', { name: `${name}-image`, exact: true }).click();
  await page.getByRole('button', { name: 'Export version 1' }).click();
  // Where the files will be is told before they are written.
  await expect(dialog(page)).toContainText(`Export ${name}-image v1 as OVA`);
  await expect(dialog(page)).toContainText(`in ${stack.store}/exports/${name}-image-v1-`);
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();

  await page.goto(address);
  await page.getByRole('button', { name: 'More' }).click();
  await page.getByRole('menuitem', { name: 'Reset to as cloned' }).click();
  await expect(dialog(page)).toContainText('wrote since it was cloned');
  await expect(dialog(page).getByRole('listitem').first()).toContainText('Create a new disk on its base');
  await dialog(page).getByRole('button', { name: 'Reset' }).click();
  await expect(dialog(page)).toBeHidden();
  await page.getByRole('button', { name: 'More' }).click();
  await expect(page.getByRole('menuitem', { name: 'Detach from its base' })).toBeEnabled();
  await page.getByRole('menuitem', { name: 'Detach from its base' }).click();
  await expect(dialog(page)).toContainText('share nothing');
  await dialog(page).getByRole('button', { name: 'Detach' }).click();
  await page.waitForURL(/\/operations\//);
  await shows(page, `${name} has disks of its own now`);
});

test('a refresh keeps as many earlier states as are asked for', async ({ page }) => {
  const name = newName('kept');
  await clone(page, { source: stack.small, kind: 'Full', name, start: false });
  await shows(page, `${name} is ready`);
  await page.getByRole('link', { name: `Open ${name}` }).click();
  await page.waitForURL(/\/guests\//);
  const address = page.url();
  await page.getByRole('button', { name: 'Refresh', exact: true }).click();
  const field = dialog(page).getByLabel('States before this one that stay');
  await expect(field).toHaveValue('1');
  await field.fill('');
  await field.pressSequentially('7');
  await expect(field, 'no more than five').not.toHaveValue('7');
  await field.fill('');
  await field.pressSequentially('0');
  await expect(field).toHaveValue('0');
  // It was not made to be refreshed: what it wrote itself is not known, and with no state kept it goes.
  await dialog(page).getByRole('radio', { name: 'Discard it' }).check();
  await expect(dialog(page)).toContainText('It is lost: no state before the new one stays.');
  await dialog(page).getByRole('button', { name: 'Refresh' }).click();
  await page.waitForURL(/\/operations\//);
  await shows(page, `${name} is up to date`);
  await page.goto(address);
  await expect(page.getByRole('cell', { name: 'now', exact: true })).toBeVisible();
  await expect(page.getByRole('button', { name: /^Put back to state/ })).toHaveCount(0);
});

test('a state that was kept on purpose can be let go of', async ({ page }) => {
  const db = openDatabase(stack.databaseUrl);
  const name = newName('states');
  const state = { at: '2026-11-01T10:00:00.000Z', disks: [] };
  const list = [
    { ...state, number: 1, kept: true },
    { ...state, number: 2, kept: false },
  ];
  try {
    // Of a host that no worker serves: only its rows are there.
    await db.prisma.host.create({
      data: {
        id: name,
        name,
        kind: 'simulated',
        simulated: true,
        guests: {
          create: {
            name,
            state: 'stopped',
            mode: 'full',
            managed: true,
            generations: { current: 2, next: 3, list },
          },
        },
      },
    });
    const { id } = await db.prisma.guest.findFirstOrThrow({ where: { name } });
    await page.goto(`/guests/${id}`);
    await expect(page.getByRole('button', { name: 'Put back to state 1' })).toBeEnabled();
    await page.getByRole('button', { name: 'Keep state 1 no longer' }).click();
    await expect(page.getByRole('button', { name: 'Keep state 1 no longer' })).toBeHidden();
    await expect(page.getByRole('button', { name: 'Put back to state 1' })).toBeVisible();
    const { generations } = await db.prisma.guest.findUniqueOrThrow({ where: { id } });
    expect(generations).toMatchObject({ list: [{ number: 1, kept: false }, { number: 2 }] });
  } finally {
    await db.pool.query('DELETE FROM "guest" WHERE "hostId" = $1', [name]);
    await db.pool.query('DELETE FROM "host" WHERE "id" = $1', [name]);
    await db.close();
  }
});
