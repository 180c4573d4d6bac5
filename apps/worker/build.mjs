// Bundles the worker for production: workspace packages inside, npm packages outside. Starting from source costs start-up time.
import { build } from 'esbuild';

await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/main.js',
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  format: 'esm',
  sourcemap: true,
  absWorkingDir: import.meta.dirname,
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
