import { serveTrpc } from '../../../../server/trpc/serve.ts';

export const dynamic = 'force-dynamic';
export { serveTrpc as GET, serveTrpc as POST };
