/** What a comparison of a clone with its source says, in words. */
import type { Verification, VerifiedDisk } from '@offshoot/clone-core/contract';
import { count, formatBytes } from './format.ts';

/** The answer in one line: "Identical to sample v1". */
export function verdict({ equal, depth, against, disks }: Verification): string {
  if (equal)
    return depth === 'whole' ? `Identical to ${against.label}` : `No difference to ${against.label} found`;
  const blocks = disks.reduce((sum, disk) => sum + disk.differingBlocks, 0);
  const bytes = disks.reduce((sum, disk) => sum + disk.differingBytes, 0);
  const found = depth === 'whole' ? '' : 'at least ';
  return `Differs from ${against.label}: ${found}${count(blocks, 'block')} (${formatBytes(bytes)})`;
}

/** What follows from it, a sentence each: what was read, what it proves, what to make of a difference. */
export function verificationWords(verification: Verification): string[] {
  const { equal, depth, disks, undetectedShare, baseIntact, against } = verification;
  const size = disks.reduce((sum, disk) => sum + disk.sizeBytes, 0);
  const words =
    depth === 'whole' && equal
      ? [`Every byte that the guest sees was compared: ${formatBytes(size)}.`]
      : disks.map((disk) => diskWords(disk, disks.length > 1));
  if (depth === 'sample' && equal && undetectedShare !== undefined)
    words.push(
      undetectedShare === 0
        ? 'Everything that holds data was compared.'
        : `If ${percent(undetectedShare)} or more of the blocks with data differed, this would have found one with 95 % probability. A few differing blocks can go unseen.`,
    );
  if (!equal) words.push('A clone that ran has written to its disks: that it differs is normal.');
  if (baseIntact === true) words.push('The base’s own files are as they were sealed.');
  if (baseIntact === false)
    words.push(
      `The base’s own files are NOT as they were sealed: all clones of ${against.label} see the damage. Make a new version of the template.`,
    );
  return words;
}

function diskWords(disk: VerifiedDisk, several: boolean): string {
  const name = several ? `Disk ${disk.target}: ` : '';
  const size =
    disk.otherSizeBytes === undefined
      ? ''
      : ` It is ${formatBytes(disk.sizeBytes)} large, the other ${formatBytes(disk.otherSizeBytes)}.`;
  const read =
    disk.sampled === undefined
      ? `${formatBytes(disk.sizeBytes)} compared`
      : `${disk.sampled.blocks} of ${disk.sampled.of} blocks with data compared, at random places`;
  const first =
    disk.firstDifference === undefined
      ? ''
      : `, the first difference at ${formatBytes(disk.firstDifference)}`;
  return `${capital(`${name}${read}${first}`)}.${size}`;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const percent = (share: number): string =>
  `${(share * 100).toLocaleString('en', { maximumSignificantDigits: 2 })} %`;
