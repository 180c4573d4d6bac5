import { spendLoginLink } from '../../../server/login-link.ts';

export const dynamic = 'force-dynamic';
export { spendLoginLink as POST };
