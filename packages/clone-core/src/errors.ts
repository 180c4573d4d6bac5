/**
 * The one error class of the product. `publicMessage` is for the person who clicked: what happened, what it means
 * for their guest, what to do. `context` and `cause` are for the operator's log and never reach a browser.
 */

export const errorCodes = [
  'invalid-input',
  'name-taken',
  'not-found',
  'not-allowed',
  'unavailable-mode',
  'stale-plan',
  'source-changed',
  'source-missing',
  'source-unreadable',
  'source-encrypted',
  'broken-chain',
  'unsupported-disk',
  'no-space',
  'in-use',
  'would-lose',
  'busy',
  'host-unreachable',
  'host-key-mismatch',
  'permission',
  'timeout',
  'agent-silent',
  'cancelled',
  'lost-claim',
  'command-failed',
  'internal',
] as const;
export type ErrorCode = (typeof errorCodes)[number];

export interface ErrorDetails {
  /** One or two plain sentences for the user: what happened and what it means. */
  publicMessage: string;
  /** What the user can do about it, one sentence. */
  remedy?: string;
  /** The input field at fault, as a dotted path of the request (`target.name`). */
  field?: string;
  /** Whether the same request may succeed later without anyone changing it. */
  retryable?: boolean;
  /** For the operator: argv, exit code, stderr, paths. Never shown to users. */
  context?: Record<string, unknown>;
  cause?: unknown;
}

/** What of an error is stored and shown: JSON, without operator context. */
export interface PublicError {
  code: ErrorCode;
  message: string;
  remedy?: string;
  field?: string;
  retryable: boolean;
}

export class OffshootError extends Error {
  override readonly name = 'OffshootError';
  readonly code: ErrorCode;
  readonly publicMessage: string;
  readonly remedy: string | undefined;
  readonly field: string | undefined;
  readonly retryable: boolean;
  readonly context: Record<string, unknown>;

  constructor(code: ErrorCode, details: ErrorDetails) {
    super(`${code}: ${details.publicMessage}`, { cause: details.cause });
    this.code = code;
    this.publicMessage = details.publicMessage;
    this.remedy = details.remedy;
    this.field = details.field;
    this.retryable = details.retryable ?? false;
    this.context = details.context ?? {};
  }

  toPublic(): PublicError {
    return {
      code: this.code,
      message: this.publicMessage,
      ...(this.remedy === undefined ? {} : { remedy: this.remedy }),
      ...(this.field === undefined ? {} : { field: this.field }),
      retryable: this.retryable,
    };
  }
}

/**
 * Turns whatever was thrown into an OffshootError, keeping the original as `cause`. An unknown error becomes
 * `internal` with a message that promises nothing.
 */
export function toOffshootError(thrown: unknown): OffshootError {
  if (thrown instanceof OffshootError) return thrown;
  return new OffshootError('internal', {
    publicMessage: 'Something failed inside Offshoot that it has no better words for.',
    remedy:
      'Retry; if it happens again, give your administrator this operation’s address: the log has the details.',
    retryable: true,
    cause: thrown,
    context: { thrown: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) },
  });
}
