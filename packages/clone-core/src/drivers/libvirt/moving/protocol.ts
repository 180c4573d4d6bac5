/**
 * What the worker of a host that a guest leaves asks the worker of the host it goes to: one question a stream, as a line
 * of JSON; lines of JSON come back (`Reply`). After the answer to `reach` the stream carries bytes.
 */
import { z } from 'zod';
import { errorCodes } from '../../../errors.ts';

const name = z.string().regex(/^[A-Za-z0-9._-]{1,200}$/);
const guest = z.object({ uuid: z.uuid(), name: z.string().min(1).max(200) });
/** The operation that moves the guest: whoever asks must be performing it. */
const operation = z.uuid();
const onto = z.object({ path: z.string().startsWith('/'), format: z.enum(['qcow2', 'raw']) });

/** A socket of libvirt or QEMU that a running guest goes through. */
export const channels = ['libvirt', 'memory', 'disks'] as const;
export type Channel = (typeof channels)[number];

export const questionSchema = z.discriminatedUnion('ask', [
  /** Reads only; asked for previews too. */
  z.object({ ask: z.literal('look'), guest, definition: z.string(), base: z.string().optional() }),
  /** Empty disks that a running guest's are copied into. */
  z.object({
    ask: z.literal('prepare'),
    operation,
    folder: name,
    disks: z.array(
      z.object({
        file: name,
        format: z.enum(['qcow2', 'raw']),
        virtualBytes: z.int().min(0),
        onto: onto.optional(),
      }),
    ),
  }),
  /** Files to take from the host that asks. */
  z.object({
    ask: z.literal('fetch'),
    operation,
    folder: name,
    from: z.object({ hostId: z.string(), name: z.string() }),
    word: z.string(),
    files: z.array(z.object({ offered: name, file: name, onto: onto.optional() })),
    /** State of its emulated TPM: files below libvirt's folder for it, and the user they belong to. */
    tpm: z
      .object({
        uuid: z.uuid(),
        owner: name,
        files: z.array(
          z.object({ offered: name, path: z.string().regex(/^[A-Za-z0-9_-]+(\/[A-Za-z0-9._-]+)*$/) }),
        ),
      })
      .optional(),
  }),
  z.object({ ask: z.literal('define'), operation, guest, folder: name, xml: z.string() }),
  z.object({ ask: z.literal('state'), operation, guest }),
  /** Takes away what came for this operation, and nothing else. */
  z.object({ ask: z.literal('forget'), operation, guest, folder: name, tpm: z.boolean() }),
  z.object({ ask: z.literal('reach'), operation, channel: z.enum(channels) }),
]);
export type Question = z.infer<typeof questionSchema>;
export type Ask<K extends Question['ask']> = Extract<Question, { ask: K }>;

/** What a guest finds on the host it would go to. Sentences' ends are of that host: "it has no network lab". */
export const lookSchema = z.object({
  store: z.string(),
  freeBytes: z.number(),
  networks: z.array(z.object({ name: z.string(), active: z.boolean() })),
  machine: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  /** It has a guest like it already. */
  taken: z.enum(['name', 'uuid']).optional(),
  /** Why its processor or machine can't be had there. */
  processor: z.string().optional(),
  /** Files and devices of the host that the definition names and that are not there. */
  missing: z.array(z.string()),
  /** Disks of the base it stands on, when it is there. */
  base: z.array(z.object({ target: z.string(), path: z.string(), format: z.string() })).optional(),
  system: z.boolean(),
});
export type Look = z.infer<typeof lookSchema>;

export const stateSchema = z.object({
  state: z.enum(['stopped', 'running', 'paused']).optional(),
  /** Milliseconds that it stood still when it came, as QEMU measured. */
  pauseMs: z.number().optional(),
});
export type StateThere = z.infer<typeof stateSchema>;

export const replySchema = z.union([
  z.object({ progress: z.object({ doneBytes: z.number(), note: z.string() }) }),
  z.object({ answer: z.unknown() }),
  z.object({
    refused: z.object({
      code: z.enum(errorCodes),
      message: z.string(),
      remedy: z.string().optional(),
      retryable: z.boolean(),
    }),
  }),
]);
export type Reply = z.infer<typeof replySchema>;
