import { answerSample } from '../../../../server/fleet/program.ts';

export const dynamic = 'force-dynamic';

export const GET = (): Promise<Response> => answerSample();
