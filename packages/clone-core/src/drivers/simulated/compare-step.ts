/** Step handler of the simulated driver that compares disks: by what stands for their content. */
import { COMPARED_BLOCK_BYTES, type VerifiedDisk } from '../../contract.ts';
import type { StepHandler } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { Clock } from './clock.ts';
import type { SimulatedHost } from './host.ts';
import type { Speed } from './own-files.ts';
import type { CompareStep } from './step-types.ts';

const SAMPLE_BLOCKS = 1024;

export function compareHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<CompareStep> {
  return {
    async *run(step, context) {
      for (let done = 0; done < step.bytes;) {
        await clock.sleep(speed.tickMs, context.signal);
        done = Math.min(step.bytes, done + Math.max(1, Math.round((speed.copyRate * speed.tickMs) / 1000)));
        yield { doneBytes: done, totalBytes: step.bytes };
      }
      const { files } = await host.look();
      const disks = step.disks.map(({ target, mine, theirs }): VerifiedDisk => {
        const [own, other] = [files[mine], files[theirs]];
        if (!own || !other)
          throw new OffshootError('source-missing', {
            publicMessage: `A file of disk ${target} is gone from the simulated host.`,
            remedy: 'Bring it back, then compare again.',
          });
        const equal = own.content === other.content;
        const of = Math.ceil(other.allocatedBytes / COMPARED_BLOCK_BYTES);
        return {
          target,
          equal,
          sizeBytes: own.virtualBytes,
          ...(step.depth === 'whole'
            ? { digest: own.content }
            : { sampled: { blocks: Math.min(SAMPLE_BLOCKS, of), of } }),
          differingBlocks: equal ? 0 : of,
          differingBytes: equal ? 0 : of * COMPARED_BLOCK_BYTES,
          ...(equal ? {} : { firstDifference: 0 }),
        };
      });
      context.result({
        verified: {
          at: new Date(clock.now()).toISOString(),
          against: step.against,
          depth: step.depth,
          equal: disks.every((disk) => disk.equal),
          disks,
          ...(step.depth === 'sample' ? { undetectedShare: 1 - 0.05 ** (1 / SAMPLE_BLOCKS) } : {}),
        },
      });
    },
    undo: () => Promise.resolve(undefined), // it only read
  };
}
