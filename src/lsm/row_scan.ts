/**
 * A scan over one captured view: the rows of a key range, ascending or descending, in batches.
 *
 * Pulls from the cursors of all sources that can hold keys of the range, merges them and resolves versions. The driver
 * calls `fill`; on PENDING it fetches what `collectNeeds` names and calls `fill` again. Everything between two fetches
 * is synchronous.
 *
 * Errors: a store error, damage or a failing merge operator poisons the scan: every later call fails with the same
 * error. A refused `seek` does not.
 *
 * @module
 */
import { Effect } from "effect";
import { compareBytes } from "../bytes/compare.ts";
import type { Entry } from "../db/api.ts";
import { InvalidArgument } from "../errors.ts";
import { type Cursor, type END, type Move, type Need, PENDING, READY } from "./cursor.ts";
import { rangeContains, type ScanRange, successor } from "./key_range.ts";
import type { LsmView } from "./lsm_view.ts";
import { masked } from "./masked_cursor.ts";
import { MergeCursor } from "./merge_cursor.ts";
import { type RangeSource, setRanges, tableRanges } from "./range_source.ts";
import { attempt, type ReadError } from "./read_error.ts";
import { ResultSlab } from "./result_slab.ts";
import { type HalfOpenRange, RowResolver } from "./row_resolver.ts";
import { RunCursor, type RunCursorOptions } from "./run_cursor.ts";
import type { FetchOptions, TableStore } from "./table_store.ts";
import type { ReadSpec } from "./version_fold.ts";

/** First request of a scan whose length nobody knows, bytes. */
const FIRST_WINDOW_BYTES = 32_768;
/** Bytes per row assumed for a scan with a limit. */
const ROW_BYTES_GUESS = 320;
/** Added for a limited scan, since it begins somewhere inside a block. */
const BLOCK_BYTES_GUESS = 4_096;
/** Largest first request, bytes. */
const FIRST_WINDOW_BYTES_MAX: number = 1024 * 1024;

/** How far a scan has come; one over a newer view can go on from there. */
export interface ScanProgress {
  /** Key of the last row answered. */
  readonly lastKey: Uint8Array | undefined;
  /** Where it goes on, half-open as the bounds are; undefined: at the start of the range. */
  readonly from: Uint8Array | undefined;
}

/** How to scan. */
export interface RowScanOptions {
  /** Default "ascending". */
  readonly order?: "ascending" | "descending" | undefined;
  /** How many rows the reader means to take; sizes the first request. */
  readonly expectedRows?: number | undefined;
  /** Least size of every request per table, bytes. */
  readonly readAheadBytes?: number | undefined;
  /** Leaves the values out of the entries. */
  readonly keysOnly?: boolean | undefined;
  /** Where results are copied to; may be shared by all readers of a database. Default: an own one. */
  readonly slab?: ResultSlab | undefined;
  /** Goes on where another scan of the same range and order had come to. */
  readonly after?: ScanProgress | undefined;
}

/** A range as half-open bounds. */
export function halfOpen(range: ScanRange): HalfOpenRange {
  const { start, startInclusive, end, endInclusive } = range;
  return {
    lower: start === undefined || startInclusive ? start : successor(start),
    upper: end === undefined || !endInclusive ? end : successor(end),
  };
}

/**
 * Cursors over all sources of `view` that can hold keys of `range`, newest first, without the rows that range tombstones
 * up to `maxSeq` hide.
 */
export function openSources(
  view: LsmView,
  range: HalfOpenRange,
  maxSeq: number,
  options: RunCursorOptions,
): Cursor[] {
  const { lower, upper } = range;
  const sources: Cursor[] = [];
  const newer: RangeSource[] = [];
  const add = (rows: Cursor, own: ReadonlyArray<RangeSource>) => {
    if (newer.length + own.length === 0) {
      sources.push(rows);
      return;
    }
    sources.push(masked(rows, newer.slice(), own, maxSeq));
    newer.push(...own);
  };
  for (const memtable of view.memtables) {
    if (memtable.entryCount > 0) add(memtable.cursor(), setRanges(memtable.ranges.sets));
  }
  for (const ref of view.l0) {
    if (!ref.overlaps(lower, upper)) continue;
    const tables = [ref];
    add(new RunCursor(tables, options), tableRanges(tables));
  }
  for (const run of view.runs) {
    const tables = lower === undefined && upper === undefined
      ? run.tables
      : run.tables.filter((ref) => ref.overlaps(lower, upper));
    if (tables.length > 0) add(new RunCursor(tables, options), tableRanges(tables));
  }
  return sources;
}

/** One cursor for any number of sources. */
export function mergeSources(sources: ReadonlyArray<Cursor>): Cursor {
  return sources.length === 1 ? sources[0]! : new MergeCursor(sources);
}

function firstWindowBytes(expectedRows: number | undefined): number {
  if (expectedRows === undefined) return FIRST_WINDOW_BYTES;
  return Math.min(FIRST_WINDOW_BYTES_MAX, BLOCK_BYTES_GUESS + expectedRows * ROW_BYTES_GUESS);
}

/** The rows of a range, batch by batch. */
export class RowScan {
  readonly #range: ScanRange;
  readonly #ascending: boolean;
  readonly #source: Cursor;
  readonly #resolver: RowResolver;
  /** Key of the last row that `fill` answered. */
  #lastKey: Uint8Array | undefined;
  /** Where the walk goes on, if no row was answered since. */
  #from: Uint8Array | undefined;
  #poison: { readonly error: unknown } | undefined = undefined;

  constructor(view: LsmView, range: ScanRange, spec: ReadSpec, options: RowScanOptions = {}) {
    this.#range = range;
    this.#ascending = options.order !== "descending";
    const bounds = halfOpen(range);
    this.#source = mergeSources(openSources(view, bounds, spec.maxSeq, {
      lower: bounds.lower,
      upper: bounds.upper,
      firstWindowBytes: firstWindowBytes(options.expectedRows),
      readAheadBytes: options.readAheadBytes,
    }));
    this.#resolver = new RowResolver(
      this.#source,
      bounds,
      spec,
      options.slab ?? new ResultSlab(),
      options.keysOnly === true,
    );
    this.#lastKey = options.after?.lastKey;
    this.#walk(options.after?.from);
  }

  /**
   * Appends rows to `into` until it has `max` of them.
   *
   * @returns READY when `into` is full, END when there are no more rows, PENDING when parts must be fetched first; rows
   * appended before that stay
   * @throws what poisoned the scan
   */
  fill(into: Entry[], max: number): Move {
    if (this.#poison !== undefined) throw this.#poison.error;
    const resolver = this.#resolver;
    const before = into.length;
    try {
      let move: Move = READY;
      while (into.length < max && (move = resolver.advance()) === READY) into.push(resolver.entry!);
      if (into.length > before) {
        resolver.handOver();
        this.#lastKey = into[into.length - 1]!.key.slice();
        this.#from = undefined;
      }
      return move;
    } catch (error) {
      this.poison(error);
      throw error;
    }
  }

  /** What a pending `fill` waits for. */
  collectNeeds(into: Need[]): void {
    this.#source.collectNeeds(into);
  }

  /**
   * Goes on at the first row at or after `key` in scan order (at or before it when descending).
   *
   * @throws InvalidArgument "seek-outside-range", or "seek-backward" when `key` is not after the last row answered
   */
  seek(key: Uint8Array): void {
    if (this.#poison !== undefined) throw this.#poison.error;
    if (!rangeContains(this.#range, key)) {
      throw new InvalidArgument({
        reason: "seek-outside-range",
        message: "Cannot seek: the key lies outside the range of the scan. Seek inside it, or start another scan",
      });
    }
    if (this.#lastKey !== undefined) {
      const order = compareBytes(key, this.#lastKey);
      if (this.#ascending ? order <= 0 : order >= 0) {
        throw new InvalidArgument({
          reason: "seek-backward",
          message:
            "Cannot seek: the key is not after the last row in the order of the scan. Start another scan to go back",
        });
      }
    }
    this.#walk(this.#ascending ? key.slice() : successor(key));
  }

  /** How far it has come. */
  get progress(): ScanProgress {
    const lastKey = this.#lastKey;
    const behind = lastKey === undefined || !this.#ascending ? lastKey : successor(lastKey);
    return { lastKey, from: this.#from ?? behind };
  }

  #walk(from: Uint8Array | undefined): void {
    this.#from = from;
    if (this.#ascending) this.#resolver.ascend(from);
    else this.#resolver.descend(from);
  }

  /** Makes every later call fail with `error`. */
  poison(error: unknown): void {
    this.#poison ??= { error };
  }
}

/**
 * Fills `into` up to `max` rows, with I/O where needed.
 *
 * Fails with the store's or the data's error, or that of the merge operator; each poisons the scan. An interruption
 * does not: the scan goes on where it was.
 */
export function fetchRows(
  tables: TableStore,
  scan: RowScan,
  into: Entry[],
  max: number,
  options: FetchOptions,
): Effect.Effect<typeof READY | typeof END, ReadError> {
  const round: Effect.Effect<typeof READY | typeof END, ReadError> = attempt(() => {
    const move = scan.fill(into, max);
    if (move !== PENDING) return Effect.succeed(move);
    const needs: Need[] = [];
    scan.collectNeeds(needs);
    // Nothing is missing: many hidden rows were passed, and others get a turn.
    if (needs.length === 0) return Effect.andThen(Effect.yieldNow, round);
    const fetched = Effect.tapError(tables.fetch(needs, options), (error) => Effect.sync(() => scan.poison(error)));
    return Effect.andThen(fetched, round);
  });
  return round;
}
