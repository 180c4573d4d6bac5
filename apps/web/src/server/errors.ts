/** What of an error reaches a browser: its code and plain words, never the operator's context. */
import type { PublicError } from '@offshoot/clone-core/contract';
import { OffshootError, type ErrorCode } from '@offshoot/clone-core/errors';
import type { TRPCError } from '@trpc/server';
import { ZodError } from 'zod';
import { remedyOf, sentenceOf } from './input-words.ts';

type TrpcCode = TRPCError['code'];

const trpcCodes: Readonly<Partial<Record<ErrorCode, TrpcCode>>> = {
  'invalid-input': 'BAD_REQUEST',
  'name-taken': 'CONFLICT',
  'not-found': 'NOT_FOUND',
  'not-allowed': 'FORBIDDEN',
  permission: 'FORBIDDEN',
  'stale-plan': 'CONFLICT',
  'in-use': 'CONFLICT',
  'would-lose': 'CONFLICT',
  busy: 'CONFLICT',
  'host-unreachable': 'SERVICE_UNAVAILABLE',
  timeout: 'GATEWAY_TIMEOUT',
  internal: 'INTERNAL_SERVER_ERROR',
};

/** Codes of drivers and of Prisma when PostgreSQL does not answer or has just been restarted. */
const databaseGone = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ECONNRESET',
  'P1001',
  'P1002',
  'P1008',
  'P1017',
  '57P01',
  '57P03',
]);

/** The tRPC code that a thrown value stands for; `otherwise` when it is none of the domain's. */
export function trpcCodeOf(thrown: unknown, otherwise: TrpcCode): TrpcCode {
  if (isOffshootError(thrown)) return trpcCodes[thrown.code] ?? 'UNPROCESSABLE_CONTENT';
  if (isDatabaseGone(thrown)) return 'SERVICE_UNAVAILABLE';
  return otherwise;
}

/** What the browser is told of a failed call. */
export function publicErrorOf(error: TRPCError): PublicError {
  const { cause, code } = error;
  if (isOffshootError(cause)) return cause.toPublic();
  if (cause instanceof ZodError) return fromZod(cause);
  if (isDatabaseGone(cause)) {
    return {
      code: 'host-unreachable',
      message: 'The portal can’t reach its database right now.',
      remedy: 'Try again in a moment; running operations go on.',
      retryable: true,
    };
  }
  switch (code) {
    case 'UNAUTHORIZED':
      return {
        code: 'not-allowed',
        message: 'You are not signed in.',
        remedy: 'Sign in and try again.',
        retryable: false,
      };
    case 'FORBIDDEN':
      return { code: 'not-allowed', message: error.message, retryable: false };
    case 'NOT_FOUND':
      return { code: 'not-found', message: 'There is nothing by that name here.', retryable: false };
    case 'PARSE_ERROR':
    case 'BAD_REQUEST':
    case 'METHOD_NOT_SUPPORTED':
    case 'UNSUPPORTED_MEDIA_TYPE':
      return {
        code: 'invalid-input',
        message: 'The portal can’t read that request: it is no JSON, or not sent as JSON.',
        remedy: 'Reload the page; a program sends JSON by POST, with content-type application/json.',
        retryable: false,
      };
    case 'PAYLOAD_TOO_LARGE':
      return { code: 'invalid-input', message: error.message, retryable: false };
    default:
      return {
        code: 'internal',
        message: 'Something failed inside Offshoot that it has no better words for.',
        remedy: 'Try again; if it happens again, ask your administrator to look at the web’s log.',
        retryable: true,
      };
  }
}

function fromZod(error: ZodError): PublicError {
  const issue = error.issues[0];
  const field = issue?.path.map(String).join('.');
  const remedy = issue && remedyOf(issue);
  return {
    code: 'invalid-input',
    message: issue ? sentenceOf(issue) : 'The request is not as expected.',
    ...(remedy === undefined ? {} : { remedy }),
    ...(field ? { field } : {}),
    retryable: false,
  };
}

// By name: server bundles may each hold their own copy of the class.
function isOffshootError(thrown: unknown): thrown is OffshootError {
  return (
    thrown instanceof OffshootError ||
    (thrown instanceof Error && thrown.name === 'OffshootError' && 'publicMessage' in thrown)
  );
}

function isDatabaseGone(thrown: unknown): boolean {
  for (let at = thrown; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string' && databaseGone.has(at.code)) return true;
    if (
      /can't reach database|connection terminated|timeout exceeded when trying to connect/i.test(at.message)
    )
      return true;
  }
  return false;
}
