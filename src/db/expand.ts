/**
 * Range deletes without range tombstones: as deletes of the keys that are found, for databases that must stay readable by
 * engines that know no others.
 *
 * The keys are looked for at the call, while the write stands in the queue; what was written between that moment and its
 * application is known from the conflict history. Should that have lost something, or the look have failed before
 * something was applied, the keys are looked for again when the write is in front of the queue: nothing is applied behind
 * its back then, so a second answer is final.
 *
 * Invariant: X7 whatever key lies in the range and holds something when the write is applied is deleted, expired rows and
 * unfolded operands too. At most {@linkcode AHEAD_MAX} answers are held for writes that are not in front of the queue.
 *
 * @module
 */
import { Cause, Effect, Exit } from "effect";
import { InvalidArgument } from "../errors.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE } from "../format/types.ts";
import { END, PENDING } from "../lsm/cursor.ts";
import type { Memtable } from "../lsm/memtable.ts";
import { joinFragments, RangeSet } from "../lsm/range_set.ts";
import type { Watch } from "../state/conflicts.ts";
import { type KeySpan, keyText, SpanSet, textBytes } from "../state/key_spans.ts";
import type { ReadyRows } from "../state/writer_state.ts";
import { type Entry, NOT_CACHED, type Ttl } from "./api.ts";
import {
  type BatchOps,
  type BatchRows,
  type CapturedBatch,
  discardsOf,
  TTL_AFTER,
  TTL_AT,
  TTL_NONE,
} from "./batch_rows.ts";
import type { LookupHost } from "./conditional_put.ts";
import { type DeletedRange, spanOf } from "./deleted_range.ts";
import type { ScanSource } from "./scan_source.ts";
import { ROW_OVERHEAD_BYTES, WriteBatch } from "./write_batch.ts";

/** Writes whose keys are looked for, or held, before they are in front of the queue. */
const AHEAD_MAX = 4;
/** Keys taken from a scan at once. */
const STEP_KEYS = 1024;
/** Keys that are looked for within the call. */
const AT_CALL_KEYS = 4096;

/** Expired rows and what hides below them are there for other engines. */
const ALL_ROWS = { ttl: "slatedb" } as const;

/** What looking for the keys of ranges takes. */
export interface ExpansionParts extends LookupHost {
  /** Keys of one write at most. */
  readonly maxKeys: number;
  /** Bytes of one write at most. */
  readonly maxBytes: number;
}

/** Shared by all range deletes of a database. */
export class ExpansionHost {
  readonly parts: ExpansionParts;
  /** Answers asked for or held now. */
  held = 0;
  /** Those that have not asked yet, in the order of the queue. */
  readonly #waiting: LiveKeys[] = [];

  constructor(parts: ExpansionParts) {
    this.parts = parts;
  }

  /** Has `keys` looked for once there is a place for its answer. */
  await(keys: LiveKeys): void {
    this.#waiting.push(keys);
  }

  /** An answer is held no longer. */
  askNext(): void {
    while (this.held < AHEAD_MAX && this.#waiting.length > 0) this.#waiting.shift()!.askAhead();
  }
}

/** The keys that the ranges of one write hold. */
export class LiveKeys {
  readonly #host: ExpansionHost;
  /** Ascending, none touches another. */
  readonly #ranges: ReadonlyArray<DeletedRange>;
  #phase: "new" | "begun" | "over" = "new";
  /** Open while an answer is awaited or kept. */
  #watch: Watch | undefined = undefined;
  /** The keys as of the watch's beginning, ascending. */
  #answer: Exit.Exit<ReadonlyArray<Uint8Array>, unknown> | undefined = undefined;

  constructor(host: ExpansionHost, ranges: ReadonlyArray<DeletedRange>) {
    this.#host = host;
    const fragments = RangeSet.of(ranges.map(({ start, end }) => ({ start, end, seq: 1, createTs: 0 }))).fragments();
    this.#ranges = joinFragments(fragments);
  }

  /**
   * Whether the keys can be told now; if not, they are being looked for and `onKnown` will be called. The first call is
   * the one of a write that may have to wait its turn; later ones mean that it is in front of the queue.
   */
  isKnown(): boolean {
    if (this.#watch !== undefined) {
      if (this.#answer === undefined) return false;
      if (!this.#isOutdated(this.#watch, this.#answer)) return true;
      this.forget();
    } else if (this.#phase === "new" && this.#host.held >= AHEAD_MAX) {
      this.#phase = "begun";
      this.#host.await(this);
      return false;
    }
    this.#phase = "begun";
    this.#ask();
    return this.#answer !== undefined;
  }

  /** What a look failed for, too many keys or a store, may be over once anything was applied. */
  #isOutdated(watch: Watch, answer: Exit.Exit<unknown, unknown>): boolean {
    const { conflicts, lastSeq } = this.#host.parts;
    return Exit.isFailure(answer) ? lastSeq() > watch.startedSeq : !conflicts.isComplete(watch);
  }

  /** Looks for the keys now, unless that was done or does not matter any more. */
  askAhead(): void {
    if (this.#phase === "begun" && this.#watch === undefined) this.#ask();
  }

  /** Lets go of what is held. */
  forget(): void {
    if (this.#watch === undefined) return;
    this.#host.parts.conflicts.end(this.#watch);
    this.#host.held--;
    this.#watch = undefined;
    this.#answer = undefined;
  }

  /** The write was applied or refused. */
  end(): void {
    this.forget();
    this.#phase = "over";
    this.#host.askNext();
  }

  /**
   * The keys as they are now. Only right after `isKnown` said yes.
   *
   * @throws InvalidArgument "range-too-large", and what looking for them failed with
   */
  keys(): ReadonlyArray<Uint8Array> {
    const answer = this.#answer!;
    if (Exit.isFailure(answer)) throw Cause.squash(answer.cause);
    const { conflicts, maxKeys } = this.#host.parts;
    const { startedSeq } = this.#watch!;
    /** Keys written meanwhile, and whether they hold something now. */
    const changed = new Map<string, boolean>();
    const look = (key: string): void => {
      if (!changed.has(key)) changed.set(key, this.#isThere(key));
    };
    const spans = new SpanSet(this.#ranges.map(spanOf));
    conflicts.someKeyAfter(startedSeq, (key) => {
      if (spans.holding(key) !== undefined) look(key);
      return false;
    });
    const deleted = new SpanSet(conflicts.rangesAfter(startedSeq));
    if (!deleted.isEmpty) {
      for (const key of answer.value) {
        const text = keyText(key);
        if (deleted.holding(text) !== undefined) look(text);
      }
    }
    if (changed.size === 0) return answer.value;
    const keys = answer.value.filter((key) => changed.get(keyText(key)) !== false);
    for (const key of keys) changed.delete(keyText(key));
    for (const [key, isThere] of changed) if (isThere) keys.push(textBytes(key));
    if (keys.length > maxKeys) throw tooManyKeys(maxKeys);
    return keys;
  }

  /** Whether a key that was written meanwhile holds something, as far as memory can tell. */
  #isThere(key: string): boolean {
    const row = this.#host.parts.reader.tryGet(textBytes(key), ALL_ROWS);
    return row === NOT_CACHED || row !== undefined;
  }

  #ask(): void {
    const { conflicts, runtime, lastSeq, onKnown } = this.#host.parts;
    const watch = conflicts.watch(lastSeq());
    this.#watch = watch;
    this.#host.held++;
    const search = new KeySearch(this.#host.parts, this.#ranges);
    try {
      let answer: "more" | "pending" | "done";
      do answer = search.step(); while (answer === "more" && search.keys.length < AT_CALL_KEYS);
      if (answer === "done") {
        this.#answer = Exit.succeed(search.keys);
        return;
      }
    } catch (error) {
      search.close();
      this.#answer = Exit.fail(error);
      return;
    }
    runtime.fork(Effect.onExit(search.rest(() => this.#watch === watch), (exit) =>
      Effect.sync(() => {
        search.close();
        if (this.#watch !== watch) return;
        this.#answer = Exit.map(exit, () => search.keys);
        onKnown();
      })));
  }
}

/** Scans of ranges for keys alone, step by step. Each sees the state of its own beginning. */
class KeySearch {
  /** Found so far, ascending. */
  readonly keys: Uint8Array[] = [];
  readonly #host: ExpansionParts;
  readonly #ranges: ReadonlyArray<DeletedRange>;
  /** The range that is being scanned. */
  #at = 0;
  #scan: ScanSource | undefined = undefined;
  #bytes = 0;

  constructor(host: ExpansionParts, ranges: ReadonlyArray<DeletedRange>) {
    this.#host = host;
    this.#ranges = ranges;
  }

  /** Takes some keys; "pending": the store has to be asked first. @throws InvalidArgument "range-too-large" */
  step(): "more" | "pending" | "done" {
    const range = this.#ranges[this.#at];
    if (range === undefined) return "done";
    const { start, end } = range;
    this.#scan ??= this.#host.reader.scan({ gte: start, ...(end === undefined ? {} : { lt: end }) }, ALL_ROWS);
    const entries: Entry[] = [];
    const move = this.#scan.fill(entries, STEP_KEYS);
    for (const { key } of entries) {
      // A copy: the entry's key shares its memory with values.
      this.keys.push(key.slice());
      this.#bytes += key.length + ROW_OVERHEAD_BYTES;
    }
    const { maxKeys, maxBytes } = this.#host;
    if (this.keys.length > maxKeys) throw tooManyKeys(maxKeys);
    if (this.#bytes > maxBytes) throw tooManyBytes(maxBytes);
    if (move === PENDING) return "pending";
    if (move === END) {
      this.#scan = undefined;
      this.#at++;
    }
    return this.#at === this.#ranges.length ? "done" : "more";
  }

  /** Takes all that is left, as long as somebody wants it. */
  rest(isWanted: () => boolean): Effect.Effect<void, unknown> {
    const take = Effect.gen({ self: this }, function* () {
      while (isWanted()) {
        const answer = this.step();
        if (answer === "done") return;
        if (answer === "pending") yield* this.#scan!.fetch;
        else yield* Effect.yieldNow;
      }
    });
    return Effect.catchDefect(take, (defect) => Effect.fail(defect));
  }

  close(): void {
    this.#scan?.close();
  }
}

function tooManyKeys(maxKeys: number): InvalidArgument {
  return tooLarge(`more than ${maxKeys} keys (rangeDeleteMaxKeys)`);
}

function tooManyBytes(maxBytes: number): InvalidArgument {
  return tooLarge(`keys of more than ${maxBytes} bytes (the smaller of maxUnflushedBytes and 256 MiB)`);
}

function tooLarge(what: string): InvalidArgument {
  return new InvalidArgument({
    reason: "range-too-large",
    message:
      `Cannot delete a range: it holds ${what}, and rangeDeletes is "expand". Delete it in parts, or open with ` +
      'rangeDeletes: "native"',
  });
}

/** Rows that tell conflict detection of the ranges that they were made of, not of each key. */
export class ExpandedRows implements ReadyRows {
  readonly tick: number;
  readonly #rows: BatchRows;
  readonly #captured: CapturedBatch;

  constructor(rows: BatchRows, captured: CapturedBatch) {
    this.tick = rows.tick;
    this.#rows = rows;
    this.#captured = captured;
  }

  insertInto(memtable: Memtable, seq: number): number {
    return this.#rows.insertInto(memtable, seq);
  }

  forEachKey(visit: (bytes: Uint8Array, start: number, end: number) => void): void {
    this.#captured.forEachKey(visit);
  }

  forEachRange(visit: (range: KeySpan) => void): void {
    this.#captured.forEachRange(visit);
  }
}

/** The batch with its ranges written out: deletes of what is there, then the operations that no range takes back. */
export function expandedBatch(captured: CapturedBatch, keys: ReadonlyArray<Uint8Array>): WriteBatch {
  const batch = new WriteBatch();
  for (const key of keys) batch.delete(key);
  const { ops, points, ranges } = captured;
  const { bytes, starts, keyEnds, ends, kinds } = ops;
  const discards = discardsOf(ranges);
  for (let op = 0; op < points; op++) {
    const key = bytes.subarray(starts[op]!, keyEnds[op]!);
    if (op < discards.seqOver(key, Infinity)) continue;
    const value = bytes.subarray(keyEnds[op]!, ends[op]!);
    if (kinds[op] === FLAG_TOMBSTONE) batch.delete(key);
    else if (kinds[op] === FLAG_MERGE) batch.merge(key, value, { ttl: ttlOf(ops, op) });
    else batch.put(key, value, { ttl: ttlOf(ops, op) });
  }
  return batch;
}

function ttlOf({ ttlModes, ttlMillis }: BatchOps, op: number): Ttl {
  switch (ttlModes[op]) {
    case TTL_NONE:
      return "none";
    case TTL_AFTER:
      return { afterMillis: ttlMillis[op]! };
    case TTL_AT:
      return { atMillis: ttlMillis[op]! };
    default:
      return "default";
  }
}
