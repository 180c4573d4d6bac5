/** What a joining machine asks the portal over HTTP(S). */
import { request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';
import { errorCodes, OffshootError, type PublicError } from '@offshoot/clone-core/errors';
import { z } from 'zod';

const PATIENCE_MS = 20_000;
/** Largest answer that is taken: the sample guest is some 20 MB. Bytes. */
const MOST_BYTES = 256 * 2 ** 20;

export interface Answer {
  status: number;
  body: Buffer;
  /** Of this machine, as it reached the portal. */
  localAddress: string;
}

const errorSchema = z.object({
  error: z.object({
    code: z.enum(errorCodes),
    message: z.string(),
    remedy: z.string().optional(),
    retryable: z.boolean(),
  }),
});

/** One request. @throws OffshootError `host-unreachable` when the portal does not answer. */
export function askPortal(url: URL, json?: object): Promise<Answer> {
  const body = json === undefined ? undefined : JSON.stringify(json);
  return new Promise((resolve, reject) => {
    const away = (cause: Error): void =>
      reject(
        new OffshootError('host-unreachable', {
          publicMessage: `The portal does not answer at ${url.origin}: ${wordsFor(cause)}.`,
          remedy:
            'See that this machine can reach that address (a firewall, a name that it does not know?), then join with the same token.',
          retryable: true,
          cause,
        }),
      );
    const asking = (url.protocol === 'https:' ? overHttps : overHttp)(
      url,
      {
        method: body === undefined ? 'GET' : 'POST',
        timeout: PATIENCE_MS,
        headers:
          body === undefined
            ? {}
            : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        const localAddress = response.socket.localAddress?.replace(/^::ffff:/, '') ?? '';
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          if ((size += chunk.length) > MOST_BYTES) response.destroy(new Error('it answers without end'));
        });
        response.on('error', away);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks), localAddress }),
        );
      },
    );
    asking.on('error', away);
    asking.on('timeout', () => asking.destroy(new Error(`nothing came within ${PATIENCE_MS / 1000} s`)));
    asking.end(body);
  });
}

function wordsFor(cause: Error): string {
  const code = 'code' in cause ? cause.code : undefined;
  switch (code) {
    case 'ECONNREFUSED':
      return 'nothing listens there';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'this machine does not know that name';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no way there from this machine';
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return 'this machine does not trust its certificate (set NODE_EXTRA_CA_CERTS to the file of the authority that signed it)';
    default:
      return cause.message;
  }
}

/** The JSON of an answer. @throws OffshootError as the portal said, or `host-unreachable` when no portal speaks there. */
export function jsonOf(url: URL, answer: Answer): unknown {
  let json: unknown;
  try {
    json = JSON.parse(answer.body.toString('utf8'));
  } catch (cause) {
    throw new OffshootError('host-unreachable', {
      publicMessage: `What answers at ${url.origin} is no Offshoot portal (HTTP ${answer.status}).`,
      remedy: 'Copy the line from the portal’s Hosts page again.',
      cause,
    });
  }
  const failed = errorSchema.safeParse(json);
  if (!failed.success) return json;
  const { code, message, remedy, retryable }: PublicError = failed.data.error as PublicError;
  throw new OffshootError(code, {
    publicMessage: message,
    retryable,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
