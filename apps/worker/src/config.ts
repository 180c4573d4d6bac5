/** The worker's configuration: environment variables, each with one clear sentence when it is wrong. */
import { hostIdSchema, hypervisorKinds } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { CHAIN_BUDGET, type SimulatedConfig } from '@offshoot/clone-core/drivers';
import { hostname } from 'node:os';
import { z } from 'zod';

const count = (fallback: number) => z.coerce.number().int().min(1).max(64).default(fallback);

/** Its fields are the driver's business. */
const simulatedSchema: z.ZodType<SimulatedConfig> = z.looseObject({});

const schema = z
  .object({
    DATABASE_URL: z
      .string({ error: 'Set DATABASE_URL to the PostgreSQL to use.' })
      .regex(/^postgres(?:ql)?:\/\//, 'DATABASE_URL begins with postgresql://.'),
    REDIS_URL: z
      .string({ error: 'Set REDIS_URL to the Redis to use.' })
      .regex(/^(?:rediss?|unix):\/\//, 'REDIS_URL begins with redis://, rediss:// or unix://.'),
    /** Lower-case letters, digits and dashes; also the prefix of the host's queues. */
    OFFSHOOT_HOST_ID: hostIdSchema.default('local'),
    OFFSHOOT_HOST_NAME: z.string().min(1).max(80).default(hostname()),
    OFFSHOOT_HOST_KIND: z
      .enum(hypervisorKinds, { error: `OFFSHOOT_HOST_KIND is ${hypervisorKinds.join(' or ')}.` })
      .default('libvirt'),
    OFFSHOOT_LIBVIRT_URI: z.string().min(1).default('qemu:///system'),
    OFFSHOOT_STORE: z
      .string({ error: 'Set OFFSHOOT_STORE to the folder for disks.' })
      .startsWith('/', 'OFFSHOOT_STORE is an absolute path.'),
    OFFSHOOT_ACCELERATOR: z
      .enum(['kvm', 'tcg'], { error: 'OFFSHOOT_ACCELERATOR is kvm or tcg.' })
      .default('tcg'),
    /** The most files that a read of a disk should go through: a refresh beyond it has its clone made whole. */
    OFFSHOOT_CHAIN_BUDGET: z.coerce
      .number()
      .int()
      .min(3, 'OFFSHOOT_CHAIN_BUDGET is 3 to 100 files.')
      .max(100, 'OFFSHOOT_CHAIN_BUDGET is 3 to 100 files.')
      .default(CHAIN_BUDGET),
    /** Folders of the host that images may be imported from, with colons between them. Unset: any that the worker may read. */
    OFFSHOOT_IMPORT_FOLDERS: z
      .string()
      .transform((text) => text.split(':').map((folder) => folder.replace(/\/+$/, '')))
      .refine((folders) => folders.every((folder) => /^\/[^/]/.test(folder)), {
        error: 'OFFSHOOT_IMPORT_FOLDERS is absolute paths with colons between them.',
      })
      .optional(),
    OFFSHOOT_LANES_INTERACTIVE: count(4),
    OFFSHOOT_LANES_BULK: count(1),
    /** A host reached over SSH: [user@]host[:port]. Unset: this machine. */
    OFFSHOOT_SSH: z
      .string()
      .regex(/^(?:[a-z_][a-z0-9_-]*@)?[A-Za-z0-9.-]+(?::\d{1,5})?$/, 'OFFSHOOT_SSH is [user@]host[:port].')
      .optional(),
    OFFSHOOT_SSH_KEY_FILE: z.string().startsWith('/').optional(),
    /** SHA256:… as `ssh-keygen -lf` prints it. */
    OFFSHOOT_SSH_HOST_KEY: z.string().startsWith('SHA256:').optional(),
    /** JSON with the simulated driver's options, for `OFFSHOOT_HOST_KIND=simulated`. */
    OFFSHOOT_SIMULATED: z
      .string()
      .transform((text, context): SimulatedConfig => {
        try {
          return simulatedSchema.parse(JSON.parse(text));
        } catch (error) {
          context.addIssue({
            code: 'custom',
            message: `OFFSHOOT_SIMULATED is not JSON of the simulated driver’s options: ${error instanceof Error ? error.message : String(error)}`,
          });
          return z.NEVER;
        }
      })
      .optional(),
    /** What the web sealed secrets for guests with; unset: such a secret can’t be read here. */
    OFFSHOOT_SEAL_SECRET: z.string().min(32, 'OFFSHOOT_SEAL_SECRET has at least 32 characters.').optional(),
    /** Address at which other hosts' workers reach this one, to give each other bases. Unset: it neither gives nor takes any. */
    OFFSHOOT_PEER_ADDRESS: z
      .string()
      .regex(/^[A-Za-z0-9.:-]+$/, 'OFFSHOOT_PEER_ADDRESS is a name or an address of this host.')
      .optional(),
    OFFSHOOT_PEER_PORT: z.coerce.number().int().min(0).max(65_535).default(7464),
    OFFSHOOT_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  })
  .superRefine((env, context) => {
    if (env.OFFSHOOT_SSH !== undefined && env.OFFSHOOT_PEER_ADDRESS !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['OFFSHOOT_PEER_ADDRESS'],
        message:
          'OFFSHOOT_PEER_ADDRESS is for a worker on the host itself: bases do not go through a worker elsewhere.',
      });
    }
    if (env.OFFSHOOT_SSH !== undefined && env.OFFSHOOT_SSH_HOST_KEY === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['OFFSHOOT_SSH_HOST_KEY'],
        message: 'Pin the host’s key: set OFFSHOOT_SSH_HOST_KEY to its SHA256 fingerprint (ssh-keygen -lf).',
      });
    }
  });

export type WorkerConfig = z.infer<typeof schema>;

/**
 * Reads the environment.
 * @throws OffshootError `invalid-input`, one sentence a wrong variable.
 */
export function readConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  const parsed = schema.safeParse(env);
  if (parsed.success) return parsed.data;
  const sentences = parsed.error.issues.map((issue) => {
    const name = issue.path.join('.');
    return issue.message.includes(name) ? issue.message : `${name}: ${issue.message}`;
  });
  throw new OffshootError('invalid-input', {
    publicMessage: sentences.join(' '),
    field: String(parsed.error.issues[0]?.path[0] ?? ''),
  });
}
