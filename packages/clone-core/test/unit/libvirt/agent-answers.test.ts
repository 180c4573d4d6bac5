/** Agents as no guest here has one: Windows' own, and such that say what no agent says. Their words come through a virsh of the test's. */
import { expect, it } from 'vitest';
import type { OperationResult } from '../../../src/contract.ts';
import type { Plan, StepContext } from '../../../src/driver.ts';
import { askIdentity } from '../../../src/drivers/libvirt/guest-identity.ts';
import { attestStep } from '../../../src/drivers/libvirt/steps/attest.ts';
import type { AttestStep, Awaiting } from '../../../src/drivers/libvirt/types.ts';
import { Virsh } from '../../../src/drivers/libvirt/virsh.ts';
import { OffshootError } from '../../../src/errors.ts';
import { attestWindows } from '../../../src/identity/scripts.ts';
import { reasonOf } from '../../../src/shell/failures.ts';
import { localShell } from '../../../src/shell/local.ts';
import type { Shell } from '../../../src/shell/shell.ts';
import { decided } from '../identity/facts.ts';

const signal = AbortSignal.timeout(60_000);
const uuid = '22222222-2222-4333-8444-555555555555';
/** Says nothing until whoever asks has enough. */
const NEVER = Symbol('never');
const aborted = (asker?: AbortSignal): Promise<never> =>
  new Promise((_, reject) => asker?.addEventListener('abort', () => reject(reasonOf(asker)), { once: true }));
type Say = (execute: string, given: Record<string, unknown>) => unknown;

/** `asked`: every command of virsh. */
function guestThat(say: Say): { shell: Shell; virsh: Virsh; asked: string[] } {
  const asked: string[] = [];
  const shell: Shell = {
    ...localShell(),
    async run(argv, options) {
      if (options?.signal?.aborted) throw reasonOf(options.signal);
      const [command = '', ...words] = argv.slice(argv.indexOf('test') + 1);
      asked.push(command);
      if (command === 'domstate') return { code: 0, stdout: 'running', stderr: '' };
      const { execute, arguments: given = {} } = JSON.parse(words.at(-1) ?? '') as {
        execute: string;
        arguments?: Record<string, unknown>;
      };
      const said = say(execute, given);
      if (said === NEVER) await aborted(options?.signal);
      const stdout = typeof said === 'string' ? said : JSON.stringify({ return: said });
      return { code: 0, stdout, stderr: '' };
    },
  };
  return { shell, virsh: new Virsh(shell, 'test'), asked };
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const noShell = (argv: string): OffshootError =>
  new OffshootError('command-failed', {
    publicMessage: 'virsh failed.',
    context: {
      argv: [argv],
      code: 1,
      stderr:
        "error: internal error: unable to execute QEMU agent command 'guest-exec': Guest agent command failed, error was 'Failed to execute child process'",
    },
  });

const windows: Say = (execute, given) => {
  if (execute === 'guest-get-osinfo') return { id: 'mswindows' };
  if (execute === 'guest-exec-status') {
    const out = `hostname WEB-07\r\nsid S-1-5-21-1-2-3\r\nmac 52-54-00-00-00-07\r\nmac 52-54-00-00-01-07\r\n`;
    return { exited: true, exitcode: 0, 'out-data': base64(out) };
  }
  if (execute !== 'guest-exec') return {};
  if (given['path'] !== 'powershell.exe') throw noShell(String(given['path']));
  const script = Buffer.from((given['arg'] as string[]).at(-1) ?? '', 'base64').toString('utf16le');
  return script === attestWindows ? { pid: 7 } : expect.fail('another script');
};

const awaiting = (part: Partial<Awaiting> = {}): Awaiting => ({
  outcome: {
    way: 'unattend',
    policy: 'strict',
    decided: { ...decided, computerName: 'web-07' },
    changed: ['hostname', 'computer-name', 'sid'],
    kept: [],
    verdict: 'unasked',
    problems: [],
  },
  deadlineSeconds: 1,
  links: [...decided.macs],
  source: {},
  agents: [],
  ...part,
});

/** What the step leaves as the operation's result, and whether it touched a link. */
async function attested(say: Say, step: Awaiting): Promise<{ result: OperationResult; connected: boolean }> {
  const { shell, virsh, asked } = guestThat(say);
  let result: OperationResult = {};
  const context: StepContext = {
    signal,
    operationId: 'x',
    plan: {} as Plan,
    log: () => undefined,
    result: (part) => void (result = { ...result, ...part }),
    note: () => undefined,
  };
  const reader = { shell, virsh, store: '/nowhere', definitions: {} } as unknown as Parameters<
    typeof attestStep
  >[0];
  const asStep = { kind: 'attest', guest: { uuid, name: 'web-07' }, awaiting: step } as AttestStep;
  try {
    for await (const _progress of attestStep(reader).run(asStep, context));
  } catch (thrown) {
    // From here on it is connected, which this virsh does not know how to do.
    if (!asked.includes('domif-setlink')) throw thrown;
  }
  return { result, connected: asked.includes('domif-setlink') };
}

it('a Windows is asked by PowerShell, with its SID; who is known to be one is asked nothing else', async () => {
  const { virsh } = guestThat(windows);
  const found = await askIdentity(virsh, uuid, signal);
  expect(found).toMatchObject({ hostname: 'WEB-07', sid: 'S-1-5-21-1-2-3', macs: decided.macs });
  const sure: Say = (execute, given) =>
    execute === 'guest-get-osinfo' || given['path'] === '/bin/sh' ? expect.fail() : windows(execute, given);
  expect((await attested(sure, awaiting({ windows: true }))).connected).toBe(true);
  const still = { windows: true, source: { sid: 'S-1-5-21-1-2-3' } };
  const same = await attested(sure, awaiting(still));
  expect(same).toMatchObject({ connected: false, result: { identity: { verdict: 'mismatch' } } });
});

it.each<[string, Say]>([
  ['no JSON', (execute) => (execute === 'guest-ping' ? {} : 'moo')],
  ['a process id that is none', (execute) => (execute === 'guest-ping' ? {} : { pid: 'one' })],
  [
    'an end that is none',
    (execute) => (execute === 'guest-exec' ? { pid: 1 } : execute === 'guest-ping' ? {} : { exited: 'soon' }),
  ],
])('an agent that answers %s: not attested, not connected, and kept to be looked at', async (_what, say) => {
  expect(await askIdentity(guestThat(say).virsh, uuid, signal)).toBeUndefined();
  const { result, connected } = await attested(say, awaiting());
  expect(result.identity).toMatchObject({ verdict: 'silent', policy: 'strict' });
  expect(connected).toBe(false);
});

it.each(['guest-ping', 'guest-exec', 'guest-exec-status', 'guest-get-osinfo'])(
  'an agent that hangs in %s: it is over at the deadline',
  async (hangs) => {
    const say: Say = (execute) => {
      if (execute === hangs) return NEVER;
      if (execute === 'guest-exec' && hangs === 'guest-get-osinfo') throw noShell('/bin/sh');
      return execute === 'guest-exec' ? { pid: 1 } : {};
    };
    const { result, connected } = await attested(say, awaiting());
    expect(result.identity).toMatchObject({ verdict: 'silent', policy: 'strict' });
    expect(connected).toBe(false);
  },
  5000,
);
