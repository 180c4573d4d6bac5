import { fillClone, cloneButton, preview, steps } from './support/clone-page.ts';
import { domains } from '@offshoot/tools/lab/host';
import { expect, newName, stack, test } from './support/test.ts';

test.use({ storageState: { cookies: [], origins: [] } });

test('from sign-in to a guest that answers its agent', async ({ page }) => {
  await page.goto('/');
  await page.getByLabel('Email').fill(stack.email);
  await page.getByLabel('Password', { exact: true }).fill(stack.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('banner').getByRole('link', { name: 'New clone' }).click();

  const name = newName('agent');
  await fillClone(page, { source: 'sample', kind: 'Linked', name });
  await expect(preview(page)).toContainText(`Linked clone ${name} of sample v1`);
  await expect(preview(page)).toContainText('See that it is itself, then connect its network');
  await cloneButton(page).click();

  await expect(page.getByRole('heading', { level: 1, name: `Clone ${name}` })).toBeVisible();
  await expect(
    steps(page).filter({ hasText: 'See that it is itself, then connect its network' }),
  ).toContainText('Running');
  await expect(steps(page).filter({ hasText: `Define ${name}` })).toContainText('Done');
  await expect(page.getByText(`${name} is running`)).toBeVisible({ timeout: 45_000 });
  await expect(page.getByText(/Its agent answered .+ after the start/)).toBeVisible();

  await page.getByRole('link', { name: `Open ${name}` }).click();
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(page.getByRole('main')).toContainText('Running');
  expect(await domains()).toContain(name);
});
