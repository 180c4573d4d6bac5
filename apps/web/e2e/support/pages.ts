/** Every page that there is, with something on it. */
import { clone } from './clone-page.ts';
import { expect, newName, stack, type Page } from './test.ts';

export interface Place {
  name: string;
  path: string;
  /** What shows when the page has its content. */
  ready: (page: Page) => Promise<void>;
}

const heading =
  (name: string | RegExp) =>
  async (page: Page): Promise<void> =>
    expect(page.getByRole('heading', { level: 1, name })).toBeVisible();

/** Also waits until nothing on the page is a placeholder any more: what is looked at is the page with its content. */
const settled = ({ ready, ...place }: Place): Place => ({
  ...place,
  ready: async (page) => {
    await ready(page);
    await expect(page.locator('.mantine-Skeleton-root, [aria-busy="true"]')).toHaveCount(0);
  },
});

/** Makes what the pages need, and says where they are. Of a signed-in page. */
export async function allPlaces(page: Page): Promise<Place[]> {
  const name = newName('page');
  await clone(page, { source: 'sample', kind: 'Linked', name: `${name}-{1..3}`, count: 3, start: false });
  const batch = new URL(page.url()).pathname;
  await expect(page.getByText('3 of 3 finished')).toBeVisible({ timeout: 30_000 });
  await page
    .getByRole('main')
    .getByRole('link', { name: new RegExp(`${name}-1`) })
    .first()
    .click();
  await page.waitForURL(/\/operations\/[0-9a-f-]{36}$/);
  const operation = new URL(page.url()).pathname;
  await page.getByRole('link', { name: `Open ${name}-1` }).click();
  await page.waitForURL(/\/guests\/[0-9a-f-]{36}$/);
  const guest = new URL(page.url()).pathname;
  await page.goto('/templates');
  await page
    .getByRole('main')
    .getByRole('link', { name: /sample/ })
    .first()
    .click();
  await page.waitForURL(/\/templates\/[0-9a-f-]{36}$/);
  const template = new URL(page.url()).pathname;
  await page.goto('/hosts');
  await page.getByRole('main').getByRole('link').first().click();
  await page.waitForURL(/\/hosts\/[a-z0-9-]+$/);
  const host = new URL(page.url()).pathname;
  const places: Place[] = [
    { name: 'overview', path: '/', ready: heading('Overview') },
    {
      name: 'guests',
      path: '/guests',
      ready: async (page) => expect(page.getByRole('link', { name: `${name}-1` }).first()).toBeVisible(),
    },
    { name: 'guest', path: guest, ready: heading(`${name}-1`) },
    { name: 'templates', path: '/templates', ready: heading('Templates') },
    { name: 'template', path: template, ready: heading('sample') },
    {
      name: 'new-clone',
      path: '/clone',
      ready: async (page) =>
        expect(page.getByRole('region', { name: 'What will happen' })).toContainText('Stores'),
    },
    {
      name: 'new-clone-of-guest',
      path: `/clone?source=${guest.replace('/guests/', 'guest:')}`,
      ready: async (page) =>
        expect(page.getByRole('region', { name: 'What will happen' })).toContainText('Stores'),
    },
    {
      name: 'lineage',
      path: '/lineage',
      ready: async (page) =>
        expect(
          page
            .getByRole('navigation', { name: 'Lineage as a tree' })
            .getByRole('link', { name: 'sample', exact: true }),
        ).toBeVisible(),
    },
    {
      name: 'lineage-of-guest',
      path: guest.replace('/guests/', '/lineage?guest='),
      ready: async (page) =>
        expect(page.getByRole('navigation', { name: 'Lineage as a tree' })).toContainText(`${name}-1`),
    },
    { name: 'operations', path: '/operations', ready: heading('Operations') },
    { name: 'operation', path: operation, ready: heading(`Clone ${name}-1`) },
    { name: 'batch', path: batch, ready: heading('Clone 3 guests') },
    { name: 'hosts', path: '/hosts', ready: heading('Hosts') },
    { name: 'host', path: host, ready: heading(/\S/) },
    { name: 'certificate', path: '/certificates/verify', ready: heading('Check a certificate') },
    { name: 'account', path: '/account', ready: heading('Account') },
    {
      name: 'not-found',
      path: '/nothing-here',
      ready: async (page) => {
        await heading('There is nothing here')(page);
        // One goes on from there as from any other page.
        await expect(page.getByRole('banner').getByRole('link', { name: 'New clone' })).toBeVisible();
      },
    },
    {
      name: 'gone',
      path: '/guests/00000000-0000-7000-8000-000000000000',
      ready: async (page) => {
        await heading('Guest')(page);
        await expect(page.getByText('There is no such guest')).toBeVisible();
      },
    },
  ];
  return places.map(settled);
}

/** Pages for those who are not signed in. */
export const doors: Place[] = [
  { name: 'login', path: '/login', ready: heading('Sign in') },
  {
    name: 'login-link',
    path: new URL(stack.loginUrl ?? 'http://x/login/link').pathname,
    ready: heading(/Sign in/),
  },
];
