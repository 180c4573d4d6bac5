import { AxeBuilder } from '@axe-core/playwright';
import { allPlaces, doors, type Place } from './support/pages.ts';
import { expect, stack, test, type Page } from './support/test.ts';

const WIDTHS = [1440, 390] as const;
let places: Place[];

test.beforeAll(async ({ browser }) => {
  const page = await browser.newPage({ baseURL: stack.url, storageState: stack.session });
  places = await allPlaces(page);
  await page.close();
});

/** What an automated checker finds, in words: page, rule, element. */
async function violations(page: Page, where: string): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(
      ({ target, failureSummary }) => `${where}: ${id} (${help}) at ${target.join(' ')}\n${failureSummary}`,
    ),
  );
}

async function sideways(page: Page, where: string): Promise<string[]> {
  const pixels = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  return pixels > 0 ? [`${where}: scrolls ${pixels} px sideways`] : [];
}

async function inspect(page: Page, list: readonly Place[], colorScheme: 'light' | 'dark'): Promise<string[]> {
  const found: string[] = [];
  for (const place of list) {
    await page.goto(place.path);
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
      await place.ready(page);
      const where = `${place.name} at ${width} px`;
      found.push(...(await sideways(page, where)));
      // What a narrow page has is the same in both schemes, and colours are the same in both widths.
      if (width !== 390 || colorScheme === 'light') found.push(...(await violations(page, where)));
    }
    await page.setViewportSize({ width: WIDTHS[0], height: 900 });
  }
  return found;
}

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme, reducedMotion: 'reduce' });

    test('no page has an accessibility violation or scrolls sideways', async ({ page }) => {
      test.setTimeout(180_000);
      expect(await inspect(page, places, colorScheme)).toEqual([]);
    });

    test.describe('not signed in', () => {
      test.use({ storageState: { cookies: [], origins: [] } });

      test('nor has the way in', async ({ page }) => {
        expect(await inspect(page, doors, colorScheme)).toEqual([]);
      });
    });

    test('nor has what opens over a page', async ({ page }) => {
      const found: string[] = [];
      await page.goto('/guests');
      await page.getByRole('heading', { level: 1, name: 'Guests' }).waitFor();
      await page.keyboard.press('?');
      await expect(page.getByRole('dialog', { name: 'Keyboard' })).toBeVisible();
      found.push(...(await violations(page, 'keyboard sheet')));
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+k');
      await expect(page.getByRole('textbox', { name: 'Find anything' })).toBeFocused();
      found.push(...(await violations(page, 'palette')));
      await page.keyboard.press('Escape');
      await page.goto(places.find(({ name }) => name === 'guest')?.path ?? '');
      await page.getByRole('button', { name: 'Delete', exact: true }).click();
      await expect(page.getByRole('dialog')).toContainText('goes too');
      found.push(...(await violations(page, 'delete dialog')));
      expect(found).toEqual([]);
    });
  });
}
