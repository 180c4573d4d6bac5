/** `test` with the stack that runs: pages are signed in as the administrator and know the portal's address. */
import { test as base } from '@playwright/test';
import type { StackFacts } from './stack.ts';

export { expect, type Locator, type Page } from '@playwright/test';

export const stack = JSON.parse(process.env['OFFSHOOT_E2E'] ?? '{}') as StackFacts & { session: string };

export const test = base.extend<{ noPageErrors: void }>({
  // oxlint-disable-next-line no-empty-pattern -- Playwright reads the fixtures a fixture needs from this pattern
  baseURL: ({}, use) => use(stack.url),
  // oxlint-disable-next-line no-empty-pattern -- as above
  storageState: ({}, use) => use(stack.session),
  /** An exception or a policy violation in the page fails the test, whatever else it showed. */
  noPageErrors: [
    async ({ page }, use) => {
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error' && !/Failed to load resource|net::ERR_/.test(message.text()))
          errors.push(message.text());
      });
      await use();
      base.expect(errors).toEqual([]);
    },
    { auto: true },
  ],
});

let count = 0;
/** A guest name that no other test of this run uses. */
export const newName = (what: string): string =>
  `${stack.prefix}${what}-${process.env['TEST_WORKER_INDEX'] ?? ''}${++count}`;
