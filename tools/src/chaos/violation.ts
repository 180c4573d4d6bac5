/** Something that must never be. Ends the run. */
export class Violation extends Error {
  override readonly name = 'Violation';

  constructor(
    /** Which invariant: "no orphan". */
    readonly invariant: string,
    readonly found: string,
  ) {
    super(`${invariant}: ${found}`);
  }
}
