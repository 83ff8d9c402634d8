/**
 * Handlers of `compact-range_del_compactor` and `compact-tombstone_elider`: what a compaction keeps of tombstones.
 *
 * @module
 */
import { FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { END } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { ALL_KEYS, elidedFragments, prunedFragments, stripesAbove } from "../../src/lsm/range_retention.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import { RetainedRows } from "../../src/lsm/retention.ts";
import type { KeySpan } from "../../src/lsm/table_span.ts";
import { type PebbleSession, valuesOf } from "./pebble_files.ts";
import { bytesOf, rangeRow, showFragments } from "./pebble_rows.ts";
import { parseSpan, seqOf } from "./span_text.ts";

/** `a-c`: keys from a to before c. */
function keySpan(text: string): KeySpan {
  const [first, end] = text.trim().split("-");
  return { first: bytesOf(first!), end: bytesOf(end!), endInclusive: false };
}

/** Handles `compact`. */
export function rangeDelCompactor(): PebbleSession {
  return {
    commands: {
      compact: (block) => {
        // A snapshot sees what is below its number.
        const snapshots = valuesOf(block, "snapshots").map((seq) => Number(seq) - 1).sort((a, b) => a - b);
        const tombstones = block.input.map(parseSpan).flatMap(({ start, end, keys }) =>
          keys.map((key) => rangeRow(start, end, seqOf(key)))
        );
        const pruned = prunedFragments(tombstones, stripesAbove(Infinity, snapshots));
        const left = elidedFragments(
          pruned,
          snapshots[0] ?? Infinity,
          valuesOf(block, "in-use-key-ranges").map(keySpan),
        );
        return left.length === 0 ? "." : showFragments(RangeSet.of(left)).join("\n");
      },
    },
  };
}

/** Handles `init`, `points` and `ranges`. */
export function tombstoneElider(): PebbleSession {
  let inUse: ReadonlyArray<KeySpan> = [];
  const answer = (lines: ReadonlyArray<string>, isElided: (text: string) => boolean): string =>
    lines.map((line) => `${line.trim()}: ${isElided(line.trim()) ? "elide" : "don't elide"}`).join("\n");
  return {
    commands: {
      init: (block) => {
        inUse = block.args[0]?.key === "elide-nothing" ? [ALL_KEYS] : block.input.map(keySpan);
        return "";
      },
      points: ({ input }) => answer(input, (text) => isPointElided(text, inUse)),
      ranges: ({ input }) =>
        answer(input, (text) => {
          const { first, end } = keySpan(text);
          return elidedFragments([{ start: first, end, seq: 1, createTs: 0 }], Infinity, inUse).length === 0;
        }),
    },
  };
}

/** Whether a compaction keeps nothing of a tombstone when older rows may lie in `olderSpans` alone. */
function isPointElided(key: string, olderSpans: ReadonlyArray<KeySpan>): boolean {
  const [table, bytes] = [new Memtable(), bytesOf(key)];
  table.insert(bytes, 0, bytes.length, 1, FLAG_TOMBSTONE, NO_TICK, NO_EXPIRY, bytes, 0, 0);
  const dropTombstones = olderSpans.length === 0;
  const rules = { minSeq: Infinity, tick: NO_TICK, dropTombstones, olderSpans, merge: undefined };
  return new RetainedRows(table.cursor(), rules).next() === END;
}
