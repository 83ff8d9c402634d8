/**
 * Blocks of Pebble's files that our engine provably can not answer as upstream does.
 *
 * The runner prints the list and fails when a block on it is answered right, so that it can only shrink unnoticed.
 *
 * @module
 */

/** A block that fails and why it must. */
export interface FailingListed {
  readonly file: string;
  /** Line of the command, from 1. */
  readonly line: number;
  readonly proof: string;
}

/** All of them. */
export const FAILING_LISTED: ReadonlyArray<FailingListed> = [
  {
    file: "table_stats",
    line: 699,
    proof:
      "the table is the piece [a, b) of one with the rows a SET, b SET and d DEL, so it holds one row and no deletion; " +
      "upstream's 1 is the whole table's deletion scaled by size and rounded up, as the comment above line 657 says",
  },
];
