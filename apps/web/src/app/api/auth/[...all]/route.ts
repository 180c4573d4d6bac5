import { serveAuth } from '../../../../server/auth-http.ts';

export const dynamic = 'force-dynamic';
export { serveAuth as GET, serveAuth as POST };
