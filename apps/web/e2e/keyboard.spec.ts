import { expect, stack, test } from './support/test.ts';

test('keys do what the sheet says, and nothing while one types', async ({ page }) => {
  await page.goto('/guests');
  await expect(page.getByRole('heading', { level: 1, name: 'Guests' })).toBeVisible();
  await expect(page.getByRole('table')).toBeVisible();
  await page.keyboard.press('?');
  const sheet = page.getByRole('dialog', { name: 'Keyboard' });
  await expect(sheet).toContainText('New clone');
  await page.keyboard.press('Escape');
  await expect(sheet).toBeHidden();

  await page.keyboard.press('/');
  await expect(page.getByLabel('Search guests')).toBeFocused();
  await page.keyboard.type('c?');
  await expect(page.getByLabel('Search guests')).toHaveValue('c?');
  await expect(page).toHaveURL(/\/guests\?q=c%3F$/);
  await page.getByLabel('Search guests').blur();

  await page.keyboard.press('c');
  await expect(page.getByRole('heading', { level: 1, name: 'New clone' })).toBeVisible();
  await page.getByRole('heading', { level: 1 }).click();
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await expect(page.getByRole('heading', { level: 1, name: 'Templates' })).toBeVisible();

  await page.keyboard.press('Control+k');
  const palette = page.getByRole('textbox', { name: 'Find anything' });
  await expect(palette).toBeFocused();
  await palette.fill(stack.small);
  await expect(page.getByRole('button', { name: stack.small }).first()).toBeVisible();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: stack.small })).toBeVisible();
});
