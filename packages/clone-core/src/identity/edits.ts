/** Changes to the files of a guest that stands still: pure data, stored with the plan. No secret is ever in one. */
export type InsideEdit =
  /** Made or replaced, owned by root unless said. Folders above it are made. Where a symbolic link is, its target is written. */
  | {
      type: 'write';
      path: string;
      content: string;
      encoding?: 'base64';
      mode: number;
      uid?: number;
      gid?: number;
    }
  /** Absolute path; `*` in a segment stands for any characters but `/`. A folder goes with all it holds. Nothing there: fine. */
  | { type: 'remove'; pattern: string }
  /** Emptied, kept with owner and mode. Nothing there: fine. Same patterns. */
  | { type: 'empty'; pattern: string }
  /** Lines matching `match` (a RegExp's source) become `line`; none matches: `line` is added when `add`. No such file: nothing. */
  | { type: 'line'; path: string; match: string; line: string; add: boolean }
  /** Every `from` in the files that match becomes `to`: literal text, capitals or not. Same patterns; nothing there: fine. */
  | { type: 'replace'; pattern: string; from: string; to: string };
