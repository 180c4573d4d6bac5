import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StepContext } from '../../../src/driver.ts';
import { plan } from '../../../src/drivers/libvirt/plan.ts';
import { writeSeedStep } from '../../../src/drivers/libvirt/steps/seed.ts';
import type { InsideFacts, WriteSeedStep } from '../../../src/drivers/libvirt/types.ts';
import { identityOptionsSchema } from '../../../src/identity/contract.ts';
import { open, seal } from '../../../src/identity/secrets.ts';
import { localShell } from '../../../src/shell/local.ts';
import { failure } from '../../conformance/until.ts';
import { cloneOf, seededIds } from '../../conformance/workbench.ts';
import { factsOf, richSource } from './facts.ts';

const KEY = 'k'.repeat(32);
const PASSWORD = 'correct-horse-battery';
const JOIN = 'join-this-domain-9';
const source = { uuid: '11111111-2222-4333-8444-555555555555', name: 'rich' };
type Plan = ReturnType<typeof plan>;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-seed-'));
});
afterAll(() => rm(folder, { recursive: true }));

function planned(reader?: 'cloudbase-init'): Plan {
  const join = { domain: 'lab.example.org', user: 'joiner', password: seal(JOIN, KEY) };
  const windows = { administratorPassword: seal(PASSWORD, KEY), ...(reader ? {} : { join }) };
  const identity = identityOptionsSchema.parse({ windows });
  const inside: InsideFacts['inside'] = {
    kind: 'windows',
    agent: true,
    found: [],
    agents: [],
    windows: { generalized: true },
    ...(reader ? { seedReader: reader } : {}),
  };
  const facts = factsOf(richSource({ inside: { inside, source: {} } }));
  return plan(cloneOf(source, 'win-1', { identity }), facts, seededIds('w'));
}

function stepOf(made: Plan, name: string): WriteSeedStep {
  const step = made.steps.find((each) => each.kind === 'write-seed');
  if (!step) throw new Error('no drive is written');
  return { ...step, to: join(folder, name) };
}

/** All that a step says while it runs. */
const said: string[] = [];
const contextOf = (made: Plan): StepContext => ({
  signal: new AbortController().signal,
  operationId: 'x',
  plan: made,
  log: (line) => void said.push(line),
  result: (part) => void said.push(JSON.stringify(part)),
  note: (text) => void said.push(text),
});

async function written(step: WriteSeedStep, openSecret?: (sealed: string) => string): Promise<string> {
  const handler = writeSeedStep(localShell(), openSecret);
  for await (const progress of handler.run(step, contextOf(planned()))) said.push(JSON.stringify(progress));
  return (await readFile(step.to)).toString('latin1');
}

describe('what is left out of a clone with cloud-init', () => {
  const steps = (apart?: string[]): Plan['steps'] => {
    const inside: InsideFacts['inside'] = {
      kind: 'linux',
      init: 'systemd',
      seedReader: 'cloud-init',
      agent: true,
      root: { target: 'vda', filesystem: 'ext4', offset: 1_048_576, sizeBytes: 1_073_741_824 },
      found: [],
      agents: [],
      ...(apart ? { apart } : {}),
    };
    const facts = factsOf(richSource({ inside: { inside, source: {} } }));
    const identity = identityOptionsSchema.parse({ clean: ['authorized-keys'] });
    return plan(cloneOf(source, 'lin-1', { identity }), facts, seededIds('l')).steps;
  };
  const inDisk = (made: Plan['steps']): boolean =>
    JSON.stringify(made.find(({ kind }) => kind === 'edit-inside')).includes('/.ssh/authorized_keys');
  const atStart = (made: Plan['steps']): unknown =>
    made.flatMap((step) => (step.kind === 'write-seed' ? [step.seed.clean] : []))[0];

  it('goes out of its disk before it starts', () => {
    expect([inDisk(steps()), atStart(steps())]).toEqual([true, undefined]);
  });
  it('and at its first start where it has a filesystem of its own', () => {
    const made = steps(['/home']);
    expect([inDisk(made), atStart(made)]).toEqual([false, ['authorized-keys']]);
  });
});

describe('secrets of a clone', () => {
  it.for([
    ['an answer file', undefined, [PASSWORD, JOIN]],
    ['a seed for cloudbase-init', 'cloudbase-init', [PASSWORD]],
  ] as const)(
    'are opened for %s alone: no plan, log, result, note or error holds one',
    async ([name, reader, secrets]) => {
      const made = planned(reader);
      const step = stepOf(made, `${name}.iso`);
      const drive = await written(step, (sealed) => open(sealed, KEY));
      expect((await stat(step.to)).mode & 0o777).toBe(0o600);
      // The drive can't be written: what is thrown then, all that a log would print of it.
      const failed = await failure(
        written({ ...step, to: join(folder, 'nowhere', 'x.iso') }, (sealed) => open(sealed, KEY)),
      );
      const told = inspect(failed, { depth: 20, showHidden: true, maxStringLength: null });
      expect(told).toContain('nowhere');
      const everything = [JSON.stringify(made), ...said, told].join('\n');
      for (const secret of secrets) {
        const forms = [
          secret,
          ...['base64', 'hex'].map((form) => Buffer.from(secret).toString(form === 'hex' ? 'hex' : 'base64')),
        ];
        const utf16 = Buffer.from(secret, 'utf16le').toString('base64');
        expect([...forms, utf16].some((form) => drive.includes(form.replace(/=+$/, '').slice(0, 20)))).toBe(
          true,
        );
        for (const form of [...forms, utf16]) expect(everything).not.toContain(form);
      }
    },
  );

  it('of an installation whose secret this worker has not: says so, and writes nothing', async () => {
    const step = stepOf(planned(), 'none.iso');
    const why = /not given the installation’s secret/;
    await expect(written(step)).rejects.toMatchObject({ publicMessage: expect.stringMatching(why) });
    await expect(written(step, (sealed) => open(sealed, 'o'.repeat(32)))).rejects.toMatchObject({
      code: 'internal',
    });
    await expect(stat(step.to)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('a drive that was written is deleted by its undo', async () => {
    const made = planned();
    const step = stepOf(made, 'undone.iso');
    await written(step, (sealed) => open(sealed, KEY));
    const handler = writeSeedStep(localShell(), undefined);
    expect(await handler.undo(step, contextOf(made))).toBe('deleted its first settings');
    expect(await handler.undo(step, contextOf(made))).toBeUndefined();
  });
});
