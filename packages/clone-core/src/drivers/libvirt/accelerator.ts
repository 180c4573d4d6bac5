/**
 * Which accelerator really runs guests here. `/dev/kvm` being there proves nothing, nor does libvirt's word: on some
 * machines firmware runs under KVM and a Linux kernel hangs. Only a guest that boots is proof.
 */
import type { HostFacts } from '../../contract.ts';
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';

/** A guest that boots under TCG in 5 s needs about one under KVM; after this it hangs, milliseconds. */
const DEADLINE_MS = 15_000;
/** What the sample guest prints on its serial port when it is up. */
const READY = 'OFFSHOOT-SAMPLE-READY';

type Verdict = HostFacts['accelerator'] & { name: 'kvm' | 'tcg' };

export interface Proof {
  /** A bootable image that prints OFFSHOOT-SAMPLE-READY on its first serial port. Never written to. */
  image: string;
  /** Folder to remember the verdict in, per kernel and QEMU. */
  store: string;
}

/**
 * The proven accelerator; boots the image under KVM once per kernel and QEMU version and remembers what came of it.
 * @throws OffshootError `not-found` without QEMU.
 */
export async function proveAccelerator(shell: Shell, { image, store }: Proof): Promise<Verdict> {
  const machine = await fingerprint(shell);
  const file = `${store}/accelerator.json`;
  const remembered = parse(await shell.readText(file));
  if (remembered?.machine === machine) return remembered.verdict;
  const verdict = await prove(shell, image);
  await shell.mkdir(store);
  await shell.writeFile(file, `${JSON.stringify({ machine, verdict })}\n`);
  return verdict;
}

async function fingerprint(shell: Shell): Promise<string> {
  const [kernel, qemu, device] = await Promise.all([
    shell.run(['uname', '-srvm']),
    shell.run(['qemu-system-x86_64', '--version']),
    shell.stat('/dev/kvm'),
  ]);
  return `${kernel.stdout.trim()} / ${qemu.stdout.split('\n')[0]} / ${device === undefined ? 'no' : 'with'} /dev/kvm`;
}

async function prove(shell: Shell, image: string): Promise<Verdict> {
  const provenAt = new Date().toISOString();
  const tcg = (detail: string): Verdict => ({ name: 'tcg', provenAt, detail });
  if ((await shell.stat('/dev/kvm')) === undefined)
    return tcg('software emulation: this machine has no /dev/kvm');
  const from = performance.now();
  const failure = await whyNotBooting(shell, image);
  if (failure === undefined) {
    return {
      name: 'kvm',
      provenAt,
      detail: `a guest booted in ${((performance.now() - from) / 1000).toFixed(1)} s`,
    };
  }
  return tcg(`software emulation: /dev/kvm is there, but ${failure}`);
}

/** Undefined: it boots. */
async function whyNotBooting(shell: Shell, image: string): Promise<string | undefined> {
  const stop = new AbortController();
  let seen = '';
  let ready = false;
  try {
    await shell.run(
      [
        'qemu-system-x86_64',
        '-accel',
        'kvm',
        '-machine',
        'q35',
        '-cpu',
        'host',
        '-m',
        '128',
        '-snapshot',
        '-nodefaults',
        '-display',
        'none',
        '-serial',
        'stdio',
        '-drive',
        `file=${image.replaceAll(',', ',,')},if=virtio,format=qcow2`,
      ],
      {
        signal: stop.signal,
        timeoutMs: DEADLINE_MS,
        dieWithParent: true,
        onStdout: (chunk) => {
          seen = (seen + chunk).slice(-4096);
          if (!seen.includes(READY)) return;
          ready = true;
          stop.abort(new OffshootError('cancelled', { publicMessage: 'It boots.' }));
        },
      },
    );
    return ready ? undefined : 'its guest ended without booting';
  } catch (thrown) {
    if (ready) return undefined;
    if (!(thrown instanceof OffshootError)) throw thrown;
    if (thrown.code === 'timeout') return `a guest did not boot with it within ${DEADLINE_MS / 1000} s`;
    if (thrown.code === 'command-failed') return 'QEMU can’t use it';
    throw thrown;
  }
}

function parse(text: string | undefined): { machine: string; verdict: Verdict } | undefined {
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as { machine?: unknown; verdict?: Verdict };
    if (typeof value.machine !== 'string' || (value.verdict?.name !== 'kvm' && value.verdict?.name !== 'tcg'))
      return undefined;
    return { machine: value.machine, verdict: value.verdict };
  } catch (error) {
    // A torn file is no verdict: prove again.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
