/** What every route handler checks before it does anything. */
import { env } from './env.ts';
import { isOwnOrigin } from './origin.ts';

/** Largest request body, bytes: 500 names fit a hundred times over. */
export const MAX_BODY_BYTES = 1024 * 1024;

type ErrorBody = {
  message: string;
  code: number;
  data: { code: string; httpStatus: number; offshoot: object };
};

/** An error in the shape that tRPC clients read. */
export function errorResponse(status: number, code: string, message: string): Response {
  const data = {
    code,
    httpStatus: status,
    offshoot: { code: status === 403 ? 'not-allowed' : 'invalid-input', message, retryable: false },
  };
  const error: ErrorBody = { message, code: -32600, data };
  return Response.json({ error }, { status });
}

/** Answers an error when a changing request comes from a foreign page; undefined when all is well. */
export function refuseForeign(request: Request): Response | undefined {
  if (request.method === 'GET' || request.method === 'HEAD') return undefined;
  const { publicUrl } = env();
  const trusted = publicUrl === undefined ? [] : [new URL(publicUrl).origin];
  if (isOwnOrigin(request.headers, request.url, trusted)) return undefined;
  return errorResponse(
    403,
    'FORBIDDEN',
    'This request comes from another site, so the portal does not act on it.',
  );
}

/** The same request with its body read and bounded, or the 413 to answer. */
export async function boundedRequest(request: Request): Promise<Request | Response> {
  if (!request.body) return request;
  const tooLarge = (): Response =>
    errorResponse(413, 'PAYLOAD_TOO_LARGE', 'The request is larger than 1 MiB, which nothing here needs.');
  const declared = Number(request.headers.get('content-length') ?? 0);
  if (declared > MAX_BODY_BYTES) return tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) return tooLarge();
    chunks.push(chunk);
  }
  return new Request(request.url, {
    method: request.method,
    headers: request.headers,
    body: Buffer.concat(chunks),
    signal: request.signal,
  });
}
