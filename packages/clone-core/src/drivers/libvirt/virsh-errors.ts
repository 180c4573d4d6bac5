/** libvirt's messages as errors people can act on. */
import { stderrOf } from '../../disks/stderr.ts';
import { OffshootError, toOffshootError, type ErrorCode } from '../../errors.ts';

interface Known {
  match: RegExp;
  code: ErrorCode;
  message: (where: string) => string;
  remedy?: string;
  retryable?: boolean;
}

const known: readonly Known[] = [
  {
    match:
      /failed to (re)?connect to the hypervisor|Failed to connect socket|cannot recv data|End of file while reading data|Cannot write data: Broken pipe|client socket is closed|Disconnected from|internal client error/i,
    code: 'host-unreachable',
    message: (where) => `libvirt does not answer on ${where}.`,
    remedy: 'Start libvirt there (systemctl start libvirtd), or look why it stopped.',
    retryable: true,
  },
  {
    match: /authentication (unavailable|failed|cancelled)|Permission denied.*libvirt-sock|access denied/i,
    code: 'permission',
    message: (where) => `The worker may not use libvirt on ${where}.`,
    remedy: 'Run the worker as root, or add its user to the group libvirt.',
  },
  {
    match: /failed to get domain|Domain not found|no domain with matching/i,
    code: 'not-found',
    message: (where) => `libvirt on ${where} knows no such guest.`,
    remedy: 'Reload the list of guests: it was removed by another hand.',
  },
  {
    match: /already exists with uuid|already defined with uuid/i,
    code: 'name-taken',
    message: (where) => `A guest of that name is already defined on ${where}.`,
    remedy: 'Choose another name.',
  },
  {
    match:
      /guest agent is not (responding|configured|available)|QEMU guest agent is not|agent.*unresponsive|Guest agent .*timed? ?out/i,
    code: 'agent-silent',
    message: () => 'The guest agent does not answer.',
    remedy:
      'Look at the guest’s screen (virt-viewer on its host); install qemu-guest-agent in it if it has none.',
    retryable: true,
  },
  {
    match: /No space left on device/i,
    code: 'no-space',
    message: (where) => `The filesystem on ${where} filled up.`,
    remedy: 'Free space on that filesystem, then retry.',
  },
  {
    match:
      /Failed to get "?(write|consistent read|shared "write")"? lock|Is another process using the image/i,
    code: 'busy',
    message: () => 'Another program has the disk open.',
    remedy: 'Wait until it is done with it, then retry.',
    retryable: true,
  },
  {
    match: /cannot acquire state change lock|already has active (block )?job|another job|block job/i,
    code: 'busy',
    message: () => 'libvirt is busy with another job of this guest.',
    remedy: 'Wait until that job is done, then retry.',
    retryable: true,
  },
  {
    match: /Cannot access storage file|Could not open .*: (No such file|Permission)/i,
    code: 'source-unreadable',
    message: () => 'A disk of the guest can’t be opened by QEMU.',
    remedy: 'See that the file is there and that QEMU’s user may read it and enter its folders.',
  },
  {
    match: /Cannot allocate memory|cannot set up guest memory/i,
    code: 'busy',
    message: (where) => `${where} has too little free memory to start the guest.`,
    remedy: 'Stop a guest, or give this one less memory.',
    retryable: true,
  },
];

/** Replaces `command-failed` by what libvirt or QEMU meant; other errors pass. Throws nothing. */
export function explain(thrown: unknown, where: string): OffshootError {
  const error = toOffshootError(thrown);
  if (error.code !== 'command-failed') return error;
  const said = stderrOf(error);
  const meant = known.find((each) => each.match.test(said));
  if (!meant) return error;
  return new OffshootError(meant.code, {
    publicMessage: meant.message(where),
    ...(meant.remedy === undefined ? {} : { remedy: meant.remedy }),
    retryable: meant.retryable ?? false,
    context: error.context,
    cause: thrown,
  });
}
