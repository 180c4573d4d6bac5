import { join } from 'node:path';
import { clone, cloneButton, fillClone, preview } from './support/clone-page.ts';
import { defineGuest, domains, virsh } from '@offshoot/tools/lab/host';
import { expect, newName, stack, test } from './support/test.ts';

const badNames: readonly [what: string, name: string, words: RegExp][] = [
  ['a slash', 'a/b', /letters, digits, dot, dash and underscore/],
  ['a space', 'a b', /letters, digits, dot, dash and underscore/],
  ['quotes', `a"b'c`, /letters, digits, dot, dash and underscore/],
  ['a shell substitution', '$(reboot)', /letters, digits, dot, dash and underscore/],
  ['XML', '<name/>', /letters, digits, dot, dash and underscore/],
  ['emoji', 'web-🚀', /letters, digits, dot, dash and underscore/],
  ['a leading dash', '-rf', /starts with a letter or digit/],
  ['two dots', 'a..b', /no two dots in a row/],
  ['64 characters', 'a'.repeat(64), /at most 63 characters/],
];

test('names that can’t be are told at the field, and nothing is asked for', async ({ page }) => {
  const asked: string[] = [];
  page.on('request', (request) => {
    if (request.url().includes('operation.create')) asked.push(request.url());
  });
  await page.goto('/clone');
  const field = page.getByLabel(/^Names?$/);
  await field.waitFor();
  for (const [what, name, words] of badNames) {
    await test.step(what, async () => {
      await field.fill(name);
      await expect(field).toHaveAttribute('aria-invalid', 'true');
      await expect(page.getByText(words)).toBeVisible();
      await expect(cloneButton(page)).toBeDisabled();
      await field.press('Enter');
    });
  }
  await field.fill('');
  await expect(cloneButton(page)).toBeDisabled();
  await field.fill('fine');
  const count = page.getByLabel('How many');
  for (const number of ['0', '-1', '10000', '1000000000']) {
    await test.step(`${number} of them`, async () => {
      await count.fill(number);
      await expect(count).toHaveAttribute('aria-invalid', 'true');
      await expect(page.getByText(/Make at least 1|At most 500 guests/)).toBeVisible();
      await expect(cloneButton(page)).toBeDisabled();
    });
  }
  expect(asked).toEqual([]);
});

test('a name that is taken is told at the field before the click', async ({ page }) => {
  const before = await domains();
  await page.goto('/clone');
  const field = page.getByLabel(/^Names?$/);
  await expect(field).not.toHaveValue(''); // the name that is suggested has come
  await field.fill(stack.small);
  await expect(field).toHaveAttribute('aria-invalid', 'true');
  await expect(page.getByText(/named .+ on this host/).first()).toBeVisible();
  await expect(cloneButton(page)).toBeDisabled();
  expect(await domains()).toEqual(before);
});

test('a source that changed after the preview: the new preview is shown, the old plan is not run', async ({
  page,
}) => {
  const name = newName('stale');
  await fillClone(page, { source: stack.small, kind: 'Full', name, start: false });
  await expect(preview(page)).toContainText('Copy disk vda');
  const uuid = (await virsh('domuuid', stack.small)).trim();
  await defineGuest(stack.small, {
    disks: [{ path: join(stack.folder, 'small.qcow2') }],
    memoryMiB: 128,
    uuid,
  });
  await cloneButton(page).click();
  await expect(page.getByText('Things changed since you saw the preview, so nothing was done')).toBeVisible();
  const outcome = page.getByRole('alert').filter({ hasText: 'Things changed' });
  await expect(outcome).toContainText(`Full clone ${name} of ${stack.small}`);
  expect(await domains()).not.toContain(name);

  await page.getByRole('button', { name: 'Go on with the new plan' }).click();
  await expect(page.getByText(`${name} is ready`)).toBeVisible();
  expect(await domains()).toContain(name);
});

test('a guest is deleted once one has seen what goes with it', async ({ page }) => {
  const name = newName('delete');
  await clone(page, { source: 'sample', kind: 'Linked', name, start: false });
  await page.getByRole('link', { name: `Open ${name}` }).click();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: `Delete ${name}?` });
  await expect(dialog).toContainText(/Its disk \(.+\) goes too\. This can’t be undone\./);
  // Enter at once deletes nothing.
  await expect(dialog.getByRole('button', { name: 'Cancel' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(dialog).toBeHidden();
  expect(await domains()).toContain(name);
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
  await expect.poll(domains).not.toContain(name);
  await page.goto('/guests');
  await page.getByLabel('Search guests').fill(name);
  await expect(page.getByText('No guest is like that')).toBeVisible();
});
