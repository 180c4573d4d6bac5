/** The worker as one file, for machines that join: built with the portal, of its version. */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { OffshootError, toOffshootError } from '@offshoot/clone-core/errors';
import { env } from '../env.ts';

export interface Program {
  bytes: Buffer<ArrayBuffer>;
  /** sha256, hex. */
  digest: string;
}

let held: { changedAt: number; program: Program } | undefined;

/** @throws OffshootError `not-found` when it was not built. */
export async function workerProgram(): Promise<Program> {
  const file = env().workerFile;
  try {
    const { mtimeMs } = await stat(file);
    if (held?.changedAt !== mtimeMs) {
      const bytes = await readFile(file);
      held = {
        changedAt: mtimeMs,
        program: { bytes, digest: createHash('sha256').update(bytes).digest('hex') },
      };
    }
    return held.program;
  } catch (cause) {
    throw new OffshootError('not-found', {
      publicMessage: 'The worker for other machines was not built with this portal.',
      remedy: 'Run `npm run build`, then start the portal again.',
      cause,
    });
  }
}

/** `GET /api/join/worker`. The program itself is no secret. */
export async function answerProgram(): Promise<Response> {
  try {
    const { bytes } = await workerProgram();
    return new Response(bytes, {
      headers: {
        'Content-Type': 'text/javascript',
        'Content-Disposition': 'attachment; filename="offshoot-worker.mjs"',
      },
    });
  } catch (thrown) {
    return new Response(toOffshootError(thrown).publicMessage, { status: 404 });
  }
}

/** `GET /api/join/sample`: the guest that a joining machine tries KVM with; 404: this portal has none. */
export async function answerSample(): Promise<Response> {
  const { sampleImage } = env();
  if (sampleImage === undefined) return new Response('This portal has no sample guest.', { status: 404 });
  return new Response(await readFile(sampleImage), {
    headers: { 'Content-Type': 'application/octet-stream' },
  });
}
