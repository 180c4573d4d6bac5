/** Plan of comparing a simulated guest with what it was cloned from. Pure. */
import type { OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { SimulatedFacts } from './facts.ts';
import type { Speed } from './own-files.ts';
import { estimate, needGuest, sumOf, type Draft } from './plan-parts.ts';

/** What a sample reads of a disk at most: 1024 blocks of 64 KiB, as on a real host. */
const SAMPLE_BYTES = 64 * 1024 ** 2;

export function planVerify(
  request: Extract<OperationRequest, { kind: 'verify' }>,
  facts: SimulatedFacts,
  speed: Speed,
): Draft {
  const guest = needGuest(facts);
  const { other, disks = [] } = facts;
  if (!other)
    throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
  const moving = guest.state !== 'stopped' ? guest.name : other.state !== 'stopped' ? other.name : undefined;
  if (moving !== undefined)
    throw new OffshootError('unavailable-mode', {
      publicMessage: `${moving} runs: its disks change while they are read, so a comparison would prove nothing.`,
      remedy: `Stop ${moving}, then compare.`,
      retryable: true,
    });
  const pairs = disks.flatMap((disk) => {
    const theirs = other.disks.find((each) => each.target === disk.target);
    return theirs ? [{ target: disk.target, mine: disk.path, theirs: theirs.path }] : [];
  });
  const whole = sumOf(disks);
  const bytes = request.depth === 'whole' ? whole : Math.min(whole, SAMPLE_BYTES * pairs.length);
  return {
    summary: `Compare ${guest.name} with ${other.name}`,
    estimates: { ...estimate(speed, bytes, 0, 1, false), moveBytes: 0 },
    steps: [
      {
        kind: 'compare',
        title:
          pairs.length === 1 ? `Compare disk ${pairs[0]?.target ?? ''}` : `Compare ${pairs.length} disks`,
        against: { type: request.against.type, label: other.name },
        depth: request.depth,
        disks: pairs,
        bytes,
      },
    ],
    basis: [request.depth, pairs],
  };
}
