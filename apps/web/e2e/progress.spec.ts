import { bar, clone, movesBeyond, steps } from './support/clone-page.ts';
import { domains } from '@offshoot/tools/lab/host';
import { remains } from './support/host.ts';
import { expect, newName, stack, test, type Page } from './support/test.ts';

/** Keeps every value that a progress bar shows, in order, from the first paint on. */
async function recordBars(page: Page): Promise<() => Promise<number[]>> {
  await page.addInitScript(() => {
    const seen: number[] = [];
    Object.assign(window, { seenPercents: seen });
    new MutationObserver(() => {
      const now = document.querySelector('[role="progressbar"]')?.getAttribute('aria-valuenow');
      if (now !== null && now !== undefined && Number(now) !== seen.at(-1)) seen.push(Number(now));
    }).observe(document, { subtree: true, childList: true, attributes: true });
  });
  return () => page.evaluate(() => (window as unknown as { seenPercents: number[] }).seenPercents);
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);

test('a full copy is watched; a reload in its middle loses and repeats nothing', async ({ page }) => {
  const bars = await recordBars(page);
  const name = newName('full');
  await clone(page, { source: stack.large, kind: 'Full', name, start: false });
  await expect(steps(page).filter({ hasText: 'Copy disk vda' })).toContainText('Running');
  const first = await movesBeyond(page, 0);
  const titles = await steps(page).count();
  const before = await bars();
  expect(before).toEqual(sorted(before));

  await page.reload();
  await expect(steps(page)).toHaveCount(titles);
  await expect(steps(page).filter({ hasText: `Define ${name}` })).toContainText('Done');
  await movesBeyond(page, first);
  await expect(page.getByText(`${name} is ready`)).toBeVisible({ timeout: 45_000 });
  const after = await bars();
  expect(after).toEqual(sorted(after));
  expect(after[0]).toBeGreaterThanOrEqual(first);
  for (const step of await steps(page).all()) await expect(step).toContainText('Done');

  await page.getByRole('button', { name: 'Log' }).click();
  await page.reload();
  await expect(page.getByText(`${name} is ready`)).toBeVisible();
  expect(await domains()).toContain(name);
});

test('a copy that is cancelled leaves nothing, and says what was undone', async ({ page }) => {
  const name = newName('cancel');
  await clone(page, { source: stack.large, kind: 'Full', name, start: false });
  await movesBeyond(page, 0);
  expect(await remains(stack.store, name)).not.toEqual([]);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Cancel it' }).click();
  const outcome = page.getByRole('alert').filter({ hasText: 'Cancelled' });
  await expect(outcome).toContainText('Undone:');
  await expect(outcome.getByRole('listitem').first()).toBeVisible();
  await expect(bar(page)).toHaveCount(0);
  expect(await remains(stack.store, name)).toEqual([]);
  await page.goto('/guests');
  await page.getByLabel('Search guests').fill(name);
  await expect(page.getByText('No guest is like that')).toBeVisible();
});

test('three at once are watched as one', async ({ page }) => {
  const name = newName('batch');
  await clone(page, { source: 'sample', kind: 'Linked', name: `${name}-{01..03}`, start: false });
  await expect(page).toHaveURL(/\/operations\/batch\//);
  await expect(page.getByRole('heading', { level: 1, name: 'Clone 3 guests' })).toBeVisible();
  await expect(page.getByText('3 of 3 finished')).toBeVisible({ timeout: 30_000 });
  await expect(page.getByRole('progressbar', { name: 'The whole batch' })).toHaveAttribute(
    'aria-valuenow',
    '100',
  );
  const made = await domains();
  for (const number of ['01', '02', '03']) expect(made).toContain(`${name}-${number}`);
});
