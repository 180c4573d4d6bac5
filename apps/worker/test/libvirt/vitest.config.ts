import { defineConfig } from 'vitest/config';

/** Tests on a real libvirt: gigabytes move, so one file at a time. */
export default defineConfig({
  test: {
    name: 'worker-libvirt',
    include: ['test/libvirt/**/*.test.ts'],
    globalSetup: ['test/libvirt/support/global-setup.ts', '../../packages/db/test/support/global-setup.ts'],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 180_000,
  },
});
