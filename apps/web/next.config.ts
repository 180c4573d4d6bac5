import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NextConfig } from 'next';

const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

const config: NextConfig = {
  turbopack: { root: repository },
  transpilePackages: ['@offshoot/clone-core', '@offshoot/db', '@offshoot/queue'],
  serverExternalPackages: ['pg', 'bullmq', 'ioredis', 'better-auth', 'pino', 'rate-limiter-flexible'],
  experimental: { optimizePackageImports: ['@mantine/core', '@mantine/hooks', '@tabler/icons-react'] },
  // `npm run typecheck` checks everything, tests included.
  typescript: { ignoreBuildErrors: true },
  poweredByHeader: false,
  reactStrictMode: true,
  agentRules: false,
  headers: () =>
    Promise.resolve([
      {
        source: '/:path*',
        headers: [
          { key: 'X-Content-Type-Options', value: 'nosniff' },
          { key: 'X-Frame-Options', value: 'DENY' },
          { key: 'Referrer-Policy', value: 'same-origin' },
          {
            key: 'Permissions-Policy',
            value: 'camera=(), microphone=(), geolocation=(), browsing-topics=()',
          },
          { key: 'Cross-Origin-Opener-Policy', value: 'same-origin' },
        ],
      },
    ]),
};

export default config;
