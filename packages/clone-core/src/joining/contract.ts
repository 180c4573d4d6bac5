/** What a machine says when it joins the portal, and what it is answered. Shared by web, worker and browser. */
import { z } from 'zod';
import { hostIdSchema } from '../contract.ts';

/** What a worker may rely on in the portal's database: must be `offshoot_protocol()` there. */
export const WORKER_PROTOCOL = 2;

/** Whether a host is asked for work, and does it. */
export const duties = ['serving', 'draining', 'maintenance'] as const;
export type Duty = (typeof duties)[number];

/** A machine's clock may differ from the portal's by this much, seconds: certificates have a beginning, and logs are compared. */
export const CLOCK_TOLERANCE_SECONDS = 120;

/** A token: 256 random bits, and the fingerprint of the authority that signed the services' certificates. Both base64url. */
export const joinTokenSchema = z
  .string()
  .regex(/^[\w-]{43}\.[\w-]{43}$/, 'A token is 87 characters long: copy the whole of it.');

export const sshTargetSchema = z
  .string()
  .max(300)
  .regex(/^(?:[a-z_][a-z0-9_-]*@)?[A-Za-z0-9.-]+(?::\d{1,5})?$/, 'A host over SSH is [user@]host[:port].');
/** As `ssh-keygen -l` prints it. */
export const hostKeySchema = z
  .string()
  .regex(/^SHA256:[A-Za-z0-9+/]{43}$/, 'A host key is SHA256: and 43 characters.');

export const joinRequestSchema = z.strictObject({
  token: joinTokenSchema,
  /** Set when the machine insists on a name: refused when the token is for another. */
  name: z.string().min(1).max(80).optional(),
  /** sha256 of the machine's own id, hex; left out: it has none. */
  machine: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** Its clock, ISO 8601. */
  now: z.iso.datetime(),
  version: z.string().max(40),
  protocol: z.int().min(1).max(1_000_000),
  /** The worker is elsewhere and serves the machine over SSH: as whom and where, and the key that was pinned. */
  ssh: z.strictObject({ target: sshTargetSchema, hostKey: hostKeySchema }).optional(),
  /** X25519, SPKI in base64: what the answer is sealed to. */
  publicKey: z.string().max(200),
});
export type JoinRequest = z.input<typeof joinRequestSchema>;

const serviceSchema = z.object({ host: z.string().min(1), port: z.int().min(1).max(65_535) });

/** Sealed to the machine that asked: who listens to plain HTTP learns nothing. */
export const joinAnswerSchema = z.object({
  hostId: hostIdSchema,
  hostName: z.string(),
  /** User in PostgreSQL and in Redis. */
  role: z.string(),
  password: z.string(),
  postgres: serviceSchema.extend({ database: z.string() }),
  redis: serviceSchema,
  /** PEM of the authority that signed their certificates; left out: one that this machine trusts already. */
  ca: z.string().optional(),
  /** What the portal seals secrets for Windows guests with. */
  seal: z.string().optional(),
});
export type JoinAnswer = z.infer<typeof joinAnswerSchema>;
