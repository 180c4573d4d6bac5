import { openDatabase } from '@offshoot/db/client';
import { expect, newName, stack, test } from './support/test.ts';

test('the list of operations is where it was left: its page, its search, and what is shown', async ({
  page,
}) => {
  const db = openDatabase(stack.databaseUrl);
  const title = newName('listed');
  try {
    // More than fit on a page, as nobody would click together.
    await db.pool.query(
      `INSERT INTO "operation" ("id", "kind", "state", "hostId", "lane", "title", "batchId", "request", "finishedAt")
       SELECT u, 'stop', 'finished', 'local', 'interactive', $1 || '-' || n, u, '{"kind": "stop"}', clock_timestamp()
       FROM generate_series(1, 120) n, LATERAL (SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid AS u) id`,
      [title],
    );
    const main = page.getByRole('main');
    const row = (n: number) => main.getByRole('link', { name: new RegExp(`${title}-${n}\\b`) });
    await page.goto(`/operations?q=${title}&show=finished`);
    await expect(row(120)).toBeVisible();
    await main.getByRole('button', { name: 'Older' }).click();
    await expect(row(70)).toBeVisible();
    await expect(row(120)).toBeHidden();
    await row(70).click();
    await page.waitForURL(/\/operations\/[0-9a-f-]{36}$/);
    await page.goBack();
    await expect(row(70)).toBeVisible();
    await expect(main.getByLabel('Search operations')).toHaveValue(title);
    await expect(main.getByRole('radio', { name: 'Finished' })).toBeChecked();
    await page.reload();
    await main.getByRole('button', { name: 'Older' }).click();
    await expect(row(20)).toBeVisible();
    await expect(main.getByRole('button', { name: 'Older' })).toBeDisabled();
    await main.getByRole('button', { name: 'Newer' }).click();
    await expect(row(70)).toBeVisible();
    await main.getByRole('button', { name: 'Newer' }).click();
    await expect(row(120)).toBeVisible();
    await page.goBack();
    await expect(row(70)).toBeVisible();
  } finally {
    await db.pool.query(`DELETE FROM "operation" WHERE "title" LIKE $1 || '-%'`, [title]);
    await db.close();
  }
});
