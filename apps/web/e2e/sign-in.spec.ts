import { expect, stack, test } from './support/test.ts';

test.use({ storageState: { cookies: [], origins: [] } });

test('a page asked for without a session is shown after signing in; a wrong password is told', async ({
  page,
}) => {
  await page.goto('/guests?x=1');
  await expect(page).toHaveURL(/\/login\?next=%2Fguests/);
  await page.getByLabel('Email').fill(stack.email);
  await page.getByLabel('Password', { exact: true }).fill('not the password');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert').filter({ hasText: /\S/ })).toContainText(/password/i);
  await page.getByLabel('Password', { exact: true }).fill(stack.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Guests' })).toBeVisible();

  await page.getByRole('button', { name: /^Account:/ }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Sign in' })).toBeVisible();
  await page.goto('/hosts');
  await expect(page).toHaveURL(/\/login\?next=%2Fhosts/);
});

test('?next= leads nowhere but into the portal', async ({ page }) => {
  await page.goto('/login?next=https://elsewhere.invalid/');
  await page.getByLabel('Email').fill(stack.email);
  await page.getByLabel('Password', { exact: true }).fill(stack.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('navigation', { name: 'Pages' })).toBeVisible();
  expect(new URL(page.url()).origin).toBe(stack.url);
});

test('the link from the start signs in once', async ({ page, context }) => {
  await page.goto(stack.loginUrl);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Account' })).toBeVisible();
  await expect(page.getByText(stack.email).first()).toBeVisible();
  await context.clearCookies();
  await page.goto(stack.loginUrl);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByText('That sign-in link was used already or is too old.')).toBeVisible();
  await page.goto('/guests');
  await expect(page).toHaveURL(/\/login/);
});
