/** What people do on the New clone page and on an operation's. */
import { expect, type Locator, type Page } from './test.ts';

export interface CloneWish {
  /** As the source field shows it: "sample", or a guest's name. Unset: what the page has chosen. */
  source?: string;
  kind?: 'Linked' | 'Full';
  name: string;
  count?: number;
  /** Start it; default true. */
  start?: boolean;
}

export const cloneButton = (page: Page): Locator => page.getByRole('button', { name: /^Clone( \d+)?$/ });
export const preview = (page: Page): Locator => page.getByRole('region', { name: 'What will happen' });

/** Fills the form; resolves when the preview shows what will happen. */
export async function fillClone(page: Page, wish: CloneWish): Promise<void> {
  await page.goto('/clone');
  await chooseSource(page, wish.source);
  if (wish.kind !== undefined) await page.getByRole('radio', { name: wish.kind }).click();
  await page.getByLabel(/^Names?$/).fill(wish.name);
  if (wish.count !== undefined) await page.getByLabel('How many').fill(String(wish.count));
  if (wish.start === false) await page.getByLabel('Start it').uncheck();
  await expect(cloneButton(page)).toBeEnabled();
}

async function chooseSource(page: Page, source: string | undefined): Promise<void> {
  const field = page.getByRole('combobox', { name: 'Source' });
  await field.waitFor();
  if (source === undefined) return;
  await field.fill(source);
  await page.getByRole('option', { name: source }).first().click();
}

/** Fills the form and clicks; resolves on the page of the operation, or of the batch. */
export async function clone(page: Page, wish: CloneWish): Promise<void> {
  await fillClone(page, wish);
  await cloneButton(page).click();
  await page.waitForURL(/\/operations\/(batch\/)?[0-9a-f-]{36}$/);
}

export const steps = (page: Page): Locator => page.getByRole('list', { name: 'Steps' }).getByRole('listitem');
export const bar = (page: Page): Locator => page.getByRole('progressbar').first();

/** How far the step that runs is, percent; undefined when none shows a bar. */
export async function percent(page: Page): Promise<number | undefined> {
  const value = await bar(page).getAttribute('aria-valuenow', { timeout: 1000 });
  return value === null ? undefined : Number(value);
}

/** Waits until the bar shows more than `than` percent; resolves with what it shows. */
export async function movesBeyond(page: Page, than: number): Promise<number> {
  await expect.poll(async () => (await percent(page)) ?? 0, { intervals: [50] }).toBeGreaterThan(than);
  return (await percent(page)) ?? 0;
}
