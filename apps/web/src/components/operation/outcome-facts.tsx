/** What the page of a finished operation says of bytes that went somewhere. */
import type { OperationResult, TransferOutcome } from '@offshoot/clone-core/contract';
import type { ReactNode } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { Copyable } from '../display/Text.tsx';

/** Where the files are, and what is in them. */
export function exportFacts(
  { folder, files }: NonNullable<OperationResult['exported']>,
  hostName: string,
): ReactNode[] {
  return [
    <>
      In <Copyable value={folder} /> on {hostName}, with SHA256SUMS beside{' '}
      {files.length === 1 ? 'it' : 'them'}. It stays there until someone removes it.
    </>,
    ...files.map(({ path, bytes, sha256 }) => (
      <>
        {path.slice(path.lastIndexOf('/') + 1)}, {formatBytes(bytes)}, sha256{' '}
        <Copyable value={sha256} shown={`${sha256.slice(0, 12)}…`} />
      </>
    )),
  ];
}

export function transferFacts({
  receivedBytes,
  reusedBytes,
  from,
  interruptions,
  damaged,
}: TransferOutcome): string[] {
  return [
    `${formatBytes(receivedBytes)} came from ${from.length === 0 ? 'nowhere' : from.join(' and ')}; ${formatBytes(reusedBytes)} were here already`,
    ...(interruptions === 0
      ? []
      : [
          `The connection broke ${interruptions === 1 ? 'once' : `${interruptions} times`}; it went on where it was`,
        ]),
    ...(damaged.length === 0
      ? []
      : [`The copy on ${damaged.join(', ')} is damaged: it is set aside and fetched again`]),
  ];
}
