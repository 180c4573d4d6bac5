/** Lines of a stream of text. */
import { MAX_COLLECTED, tooMuchOutput } from './failures.ts';

/** Yields whole lines, the last one without its newline too; ends quietly once the signal is aborted. */
export async function* splitLines(
  stream: NodeJS.ReadableStream,
  signal: AbortSignal,
  of: { argv: readonly string[]; where: string },
): AsyncGenerator<string> {
  stream.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of stream) {
      const parts = (rest + String(chunk)).split('\n');
      rest = parts.pop() ?? '';
      if (rest.length > MAX_COLLECTED) throw tooMuchOutput(of.argv, of.where);
      yield* parts;
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown; // an abort closes the stream under the loop
  }
  if (rest !== '' && !signal.aborted) yield rest;
}
