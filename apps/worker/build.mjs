// Bundles the worker for production, twice: `node build.mjs [FOLDER]`, by default into dist. Starting from source costs start-up time.
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const folder = resolve(import.meta.dirname, process.argv[2] ?? 'dist');

const common = {
  entryPoints: ['src/main.ts'],
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  format: 'esm',
  absWorkingDir: import.meta.dirname,
};

// For this repository: workspace packages inside, npm packages outside.
await build({
  ...common,
  outfile: join(folder, 'main.js'),
  sourcemap: true,
  plugins: [
    {
      name: 'npm-packages-stay-outside',
      setup(bundle) {
        bundle.onResolve({ filter: /^[^./]/ }, ({ path, kind }) =>
          kind === 'entry-point' || path.startsWith('@offshoot/') ? undefined : { path, external: true },
        );
      },
    },
  ],
});

// For machines that join: one file that needs Node and nothing else. Native add-ons, which npm packages do without, stay out.
await build({
  ...common,
  outfile: join(folder, 'offshoot-worker.mjs'),
  minify: true,
  keepNames: true,
  legalComments: 'eof',
  external: ['pg-native', 'cpu-features', '*.node'],
  banner: {
    js: [
      '#!/usr/bin/env node',
      "import { createRequire as offshootRequire } from 'node:module';",
      "import { fileURLToPath as offshootPath } from 'node:url';",
      'const require = offshootRequire(import.meta.url), __filename = offshootPath(import.meta.url), __dirname = offshootPath(new URL(".", import.meta.url));',
    ].join('\n'),
  },
});
