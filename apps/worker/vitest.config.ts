import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    name: 'worker',
    include: ['test/**/*.test.ts'],
    // Those have a configuration of their own, beside them.
    exclude: ['test/libvirt/**'],
    globalSetup: ['../../packages/db/test/support/global-setup.ts'],
    testTimeout: 90_000,
    hookTimeout: 60_000,
  },
});
