import { clone } from './support/clone-page.ts';
import { expect, newName, test, type Page } from './support/test.ts';

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
