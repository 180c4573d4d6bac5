/**
 * `tsx apps/web/e2e/shots.ts FOLDER`: pictures of every page in two widths and both schemes, of a portal on real
 * parts. The README's pictures are overview-1440-light.png and new-clone-1440-light.png.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium, type Browser } from '@playwright/test';
import config from './playwright.config.ts';
import globalSetup from './support/global-setup.ts';

const folder = process.argv[2];
if (folder === undefined) throw new Error('Say where to: tsx apps/web/e2e/shots.ts FOLDER');
await mkdir(folder, { recursive: true });
const stop = await globalSetup();
const browser = await chromium.launch(config.use?.launchOptions);
try {
  await shoot(browser, folder);
} finally {
  await browser.close();
  await stop();
}

async function shoot(browser: Browser, folder: string): Promise<void> {
  // They read the stack's facts when they are loaded.
  const { stack } = await import('./support/test.ts');
  const { allPlaces, doors } = await import('./support/pages.ts');
  const page = await browser.newPage({ baseURL: stack.url, storageState: stack.session });
  const signedIn = await allPlaces(page);
  await page.close();
  for (const width of [1440, 390]) {
    for (const colorScheme of ['light', 'dark'] as const) {
      const look = {
        baseURL: stack.url,
        colorScheme,
        reducedMotion: 'reduce' as const,
        viewport: { width, height: width === 390 ? 844 : 900 },
      };
      for (const [places, more] of [
        [signedIn, { storageState: stack.session }],
        [doors, {}],
      ] as const) {
        const context = await browser.newContext({ ...look, ...more });
        for (const place of places) {
          const page = await context.newPage();
          await page.goto(place.path);
          await place.ready(page);
          await page.waitForLoadState('load');
          await page.screenshot({ path: join(folder, `${place.name}-${width}-${colorScheme}.png`) });
          await page.close();
        }
        await context.close();
      }
    }
  }
}
