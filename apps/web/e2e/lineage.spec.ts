import { clone } from './support/clone-page.ts';
import { expect, newName, test } from './support/test.ts';

test('a linked clone: identical to its base, no drift, in the lineage, and it keeps its version from being deleted', async ({
  page,
}) => {
  const name = newName('lineage');
  await clone(page, { source: 'sample', kind: 'Linked', name, start: false });
  await page.getByRole('link', { name: `Open ${name}` }).click();
  await expect(page.getByText('Nothing has changed: all of it comes from the base.')).toBeVisible();

  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Compare' }).click();
  await expect(page.getByText('Identical to sample v1')).toBeVisible({ timeout: 30_000 });
  await expect(page.getByText('The base’s own files are as they were sealed.')).toBeVisible();
  await page.getByRole('main').getByRole('link', { name }).first().click();
  await expect(page.getByText('Identical to sample v1')).toBeVisible();
  await expect(page.getByRole('button', { name: /^Copy [0-9a-f]{64}$/ })).toBeVisible();

  await page.getByRole('link', { name: 'lineage', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: `Lineage of ${name}` })).toBeVisible();
  const tree = page.getByRole('navigation', { name: 'Lineage as a tree' });
  await expect(tree.getByRole('listitem').filter({ hasText: name }).last()).toContainText('linked');
  await expect(page.locator('.react-flow__node').filter({ hasText: name })).toBeVisible();

  await tree.getByRole('link', { name: 'sample', exact: true }).click();
  await page.getByRole('button', { name: 'Delete version 1' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('block this');
  await expect(dialog.getByRole('link', { name })).toBeVisible();
  await expect(dialog.getByRole('button', { name: 'Delete' })).toBeDisabled();
});
