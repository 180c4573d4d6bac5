import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts'],
    globalSetup: ['@offshoot/db/testing/global-setup'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
