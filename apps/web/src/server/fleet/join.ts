/** A machine joins: its token becomes a credential for one host. */
import { OffshootError, toOffshootError } from '@offshoot/clone-core/errors';
import {
  CLOCK_TOLERANCE_SECONDS,
  joinRequestSchema,
  WORKER_PROTOCOL,
  type JoinAnswer,
} from '@offshoot/clone-core/contract/joining';
import { sealAnswer, type SealedAnswer } from '@offshoot/clone-core/joining/sealed';
import { holderOf, spendToken, unspendToken, type TokenHolder } from '@offshoot/db/joining';
import { admitWorker, revokeWorkers, type WorkerCredential } from '@offshoot/db/workers';
import type { z } from 'zod';
import { version } from '../../../package.json';
import { env } from '../env.ts';
import { log } from '../log.ts';
import { access, db } from '../services.ts';
import { fleetSettings } from './settings.ts';

type Asked = z.output<typeof joinRequestSchema>;

/** What is wrong with the request itself, or its answer. */
export async function join(body: unknown): Promise<SealedAnswer> {
  const parsed = joinRequestSchema.safeParse(body);
  if (!parsed.success)
    throw new OffshootError('invalid-input', {
      publicMessage: parsed.error.issues[0]?.message ?? 'The request is not one of a worker that joins.',
      field: parsed.error.issues[0]?.path.join('.') ?? '',
    });
  const asked = parsed.data;
  const fleet = await fleetSettings();
  const [secret = ''] = asked.token.split('.');
  const holder = await holderOf(db(), secret);
  refuse(asked, holder);
  if (!(await spendToken(db(), holder.tokenId)))
    throw new OffshootError('not-allowed', {
      publicMessage: 'This token was used in this very moment by another machine.',
      remedy: 'Make a new one for each machine on the portal’s Hosts page.',
      field: 'token',
    });
  let credential: WorkerCredential | undefined;
  try {
    credential = await admitWorker(db(), {
      hostId: holder.hostId,
      hostName: holder.name,
      kind: 'libvirt',
      machine: asked.machine ?? null,
      ...(asked.ssh === undefined ? {} : { via: asked.ssh }),
    });
    await access().admit([credential]);
  } catch (error) {
    // The machine may try again with the same token, once what is wrong was mended.
    if (credential) await revokeWorkers(db(), holder.hostId);
    await unspendToken(db(), holder.tokenId);
    throw error;
  }
  log.info({ host: holder.hostId, worker: asked.version, addedBy: holder.createdById }, 'a host joined');
  const { sealSecret } = env();
  const answer: JoinAnswer = {
    hostId: holder.hostId,
    hostName: holder.name,
    role: credential.role,
    password: credential.password,
    postgres: fleet.postgres,
    redis: fleet.redis,
    ...(fleet.ca === undefined ? {} : { ca: fleet.ca }),
    ...(sealSecret === undefined ? {} : { seal: sealSecret }),
  };
  return sealAnswer(JSON.stringify(answer), asked.publicKey, asked.token);
}

function refuse(asked: Asked, holder: TokenHolder): void {
  if (asked.name !== undefined && asked.name !== holder.name)
    throw new OffshootError('not-allowed', {
      publicMessage: `This token is for the host “${holder.name}”, but the machine asks to be “${asked.name}”.`,
      remedy: `Join without a name, or make a token for “${asked.name}” on the portal’s Hosts page.`,
      field: 'name',
    });
  if (asked.protocol !== WORKER_PROTOCOL)
    throw new OffshootError('not-allowed', {
      publicMessage: `This worker is of version ${asked.version}, which this portal (${version}) can’t work with.`,
      remedy: 'Download the worker from this portal: the line on its Hosts page does.',
      field: 'version',
    });
  const ahead = (Date.parse(asked.now) - Date.now()) / 1000;
  if (Math.abs(ahead) > CLOCK_TOLERANCE_SECONDS)
    throw new OffshootError('not-allowed', {
      publicMessage: `This machine’s clock is ${span(Math.abs(ahead))} ${ahead > 0 ? 'ahead of' : 'behind'} the portal’s.`,
      remedy: 'Set it (timedatectl set-ntp true), then join again with the same token.',
      field: 'now',
    });
}

function span(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} hours` : `${Math.round(seconds / 86_400)} days`;
}

const statuses: Readonly<Record<string, number>> = {
  'invalid-input': 400,
  'not-allowed': 403,
  'in-use': 409,
  'host-unreachable': 503,
  'unavailable-mode': 503,
  internal: 500,
};

/** `POST /api/join`: JSON in, JSON out; what is wrong as `{ error: PublicError }`. */
export async function answerJoin(request: Request): Promise<Response> {
  const headers = { 'Cache-Control': 'no-store' };
  try {
    let body: unknown;
    try {
      body = await request.json();
    } catch (cause) {
      throw new OffshootError('invalid-input', { publicMessage: 'The request is not JSON.', cause });
    }
    return Response.json(await join(body), { headers });
  } catch (thrown) {
    const error = toOffshootError(thrown);
    if (error.code === 'internal')
      log.error({ err: error, context: error.context }, 'a machine could not join');
    else log.info({ code: error.code, why: error.publicMessage }, 'a machine could not join');
    return Response.json({ error: error.toPublic() }, { status: statuses[error.code] ?? 422, headers });
  }
}
