/** How the content of a disk gets to its clone. */
export type CopyStrategy = 'reflink' | 'convert';

/**
 * Reflink when the disk is one file on the store's filesystem and that shares blocks: seconds for any size. Everything
 * else is converted, which also flattens a chain.
 */
export function copyStrategy(disk: { chain: readonly unknown[]; reflinkable: boolean }): CopyStrategy {
  return disk.reflinkable && disk.chain.length === 1 ? 'reflink' : 'convert';
}
