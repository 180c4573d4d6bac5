/** `tsx tools/src/sample-guest/main.ts [FOLDER]`: builds the sample guest there (default: .data) and prints its path. */
import { toOffshootError } from '@offshoot/clone-core/errors';
import { resolve } from 'node:path';
import { ensureSampleImage } from './build.ts';

try {
  const image = await ensureSampleImage(resolve(process.argv[2] ?? '.data'), (line) =>
    process.stderr.write(`${line}\n`),
  );
  process.stdout.write(`${image}\n`);
} catch (thrown) {
  const error = toOffshootError(thrown);
  process.stderr.write(`${[error.publicMessage, error.remedy].filter(Boolean).join(' ')}\n`);
  process.exitCode = 1;
}
