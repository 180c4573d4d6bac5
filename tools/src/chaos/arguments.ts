/** What `npm run chaos` takes. */
import { OffshootError } from '@offshoot/clone-core/errors';
import { parseArgs } from 'node:util';
import { z } from 'zod';

export interface ChaosOptions {
  rounds: number;
  /** Number of the first round: its choices are those of that round in a longer run, among the guests of this one. */
  from: number;
  seed: number;
  /** Keep the folder with logs, disks and databases also when nothing was found. */
  keep: boolean;
  /** A line a round. */
  verbose: boolean;
  /** In namespaces of its own, with a libvirt of its own, which may then be restarted. */
  isolated: boolean;
  /** With the running sample guest (a boot takes seconds). */
  sample: boolean;
  /** Kinds of operations and of faults to choose from; undefined: all. */
  operations: string[] | undefined;
  faults: string[] | undefined;
}

export const usage =
  'It takes --rounds N, --from N, --seed S, --keep, --verbose, --isolated, --no-sample, --ops KIND,…, --faults KIND,… only.';

const schema = z.object({
  rounds: z.coerce
    .number({ error: '--rounds is a number.' })
    .int('--rounds is a whole number.')
    .min(1, '--rounds is 1 to 100000.')
    .max(100_000, '--rounds is 1 to 100000.')
    .default(20),
  from: z.coerce
    .number({ error: '--from is a number.' })
    .int('--from is a whole number.')
    .min(1, '--from is 1 to 100000.')
    .max(100_000, '--from is 1 to 100000.')
    .default(1),
  seed: z.coerce
    .number({ error: '--seed is a number.' })
    .int('--seed is a whole number.')
    .min(0, '--seed is 0 to 4294967295.')
    .max(2 ** 32 - 1, '--seed is 0 to 4294967295.')
    .optional(),
});

/**
 * Reads the command line. Without `--seed` one is drawn.
 * @throws OffshootError `invalid-input` with one sentence.
 */
export function readArguments(
  argv: readonly string[],
  known: { operations: readonly string[]; faults: readonly string[] },
): ChaosOptions {
  const values = parsed(argv);
  const numbers = schema.safeParse({ rounds: values.rounds, from: values.from, seed: values.seed });
  if (!numbers.success) throw refused(numbers.error.issues[0]?.message ?? 'That can’t be read.');
  return {
    rounds: numbers.data.rounds,
    from: numbers.data.from,
    seed: numbers.data.seed ?? Math.floor(Math.random() * 2 ** 32),
    keep: values.keep ?? false,
    verbose: values.verbose ?? false,
    isolated: values.isolated ?? false,
    sample: !(values['no-sample'] ?? false),
    operations: chosen('--ops', values.ops, known.operations),
    faults: chosen('--faults', values.faults, known.faults),
  };
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        rounds: { type: 'string' },
        from: { type: 'string' },
        seed: { type: 'string' },
        keep: { type: 'boolean' },
        verbose: { type: 'boolean' },
        isolated: { type: 'boolean' },
        'no-sample': { type: 'boolean' },
        ops: { type: 'string' },
        faults: { type: 'string' },
      },
    }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw refused(`${(error.message.split('. ')[0] ?? '').replace(/\.$/, '')}.`);
  }
}

function chosen(option: string, text: string | undefined, known: readonly string[]): string[] | undefined {
  if (text === undefined) return undefined;
  const names = text === 'none' && option === '--faults' ? [] : text.split(',');
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw refused(`${option} does not know ${unknown.join(', ')}; it knows ${known.join(', ')}.`);
  return names;
}

const refused = (publicMessage: string): OffshootError =>
  new OffshootError('invalid-input', { publicMessage, remedy: usage });
