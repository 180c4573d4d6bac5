import { toOffshootError } from '@offshoot/clone-core/errors';
import { workerProgram } from '../../../../server/fleet/program.ts';

export const dynamic = 'force-dynamic';

/** The program itself is no secret. */
export async function GET(): Promise<Response> {
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
