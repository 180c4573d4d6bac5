import { answerJoin } from '../../../server/fleet/join.ts';
import { boundedRequest } from '../../../server/http.ts';

export const dynamic = 'force-dynamic';

export async function POST(request: Request): Promise<Response> {
  const bounded = await boundedRequest(request);
  return bounded instanceof Response ? bounded : answerJoin(bounded);
}
