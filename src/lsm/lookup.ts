/**
 * Point lookup: one key against all sources, newest first, without a promise as long as memory can tell.
 *
 * Per table: key bounds and visible range, range tombstones, bloom filter, index, block. A range tombstone over the key
 * ends the search behind its own source: everything in older ones is older. The key is hashed once for all filters. A key's
 * versions may continue in the next block and in the next table of a run (K-17), so the search goes on until a version
 * decides or the sources end.
 *
 * When a part is missing the lookup does not stop there: it goes on through the older sources and writes down what they
 * would need too, up to eight parts, so that they are fetched in parallel (K-39). Then the whole lookup is run again;
 * it costs a microsecond. The parts it was given are held until it ends, whatever the cache does with them.
 *
 * A {@linkcode PointLookup} without held parts is the synchronous path: one per database, used again for every call.
 * A lookup that waits for I/O has its own.
 *
 * @module
 */
import { Effect } from "effect";
import { compareBytes, compareSlices } from "../bytes/compare.ts";
import { sipHash13 } from "../bytes/siphash.ts";
import { EngineCounters } from "../env/counters.ts";
import { damageIn } from "../errors.ts";
import { BlockCursor } from "../format/block_cursor.ts";
import { type Need, PENDING } from "./cursor.ts";
import type { LsmView } from "./lsm_view.ts";
import type { Memtable } from "./memtable.ts";
import { attempt, type ReadError } from "./read_error.ts";
import { ResultSlab } from "./result_slab.ts";
import { RowFields } from "./row_fields.ts";
import { NOT_COVERED } from "./range_set.ts";
import { FILTER_SLOT, INDEX_SLOT, RANGE_SLOT, type Table, type TableIndex } from "./table.ts";
import { HeldParts, TableNeed } from "./table_parts.ts";
import { countStartingBelow, type TableRef } from "./table_ref.ts";
import type { FetchOptions, TableStore } from "./table_store.ts";
import { emptyRow, type FoundRow, type ReadSpec, VersionFold } from "./version_fold.ts";

/** The key has a value; it is in the result. */
export const FOUND = 1;
/** The key has no value. */
export const ABSENT = 0;
/** Answer of {@linkcode PointLookup.tryGet}; PENDING when parts are missing, see {@linkcode PointLookup.needs}. */
type LookupAnswer = typeof FOUND | typeof ABSENT | typeof PENDING;

/** Parts written down at most for one round of requests. */
const NEEDS_MAX = 8;

/** The key can be in older sources. */
const OPEN = 0;
/** Older sources do not matter. */
const DECIDED = 1;
type Verdict = typeof OPEN | typeof DECIDED;

/** A lookup's tally: tables that filters let pass, those of them that have the key, blocks found in the cache. */
const PASSED = 1;
const MET = 1 << 10;
const BLOCK = 1 << 20;
const TALLY_MASK = MET - 1;
/** What most lookups come to: one table, one block. */
const USUAL = PASSED + MET + BLOCK;

const NOTHING_HELD: HeldParts = new HeldParts(false);
const EMPTY = new Uint8Array(0);

/** Looks keys up, one at a time. */
export class PointLookup {
  /** What the last answer, if it was PENDING, waits for; newest source first. */
  readonly needs: Need[] = [];
  readonly #slab: ResultSlab;
  /** Undefined on the synchronous path, where nothing is ever fetched. */
  readonly #held: HeldParts | undefined;
  readonly #parts: HeldParts;
  readonly #rows: BlockCursor = new BlockCursor();
  readonly #memRow: RowFields = new RowFields();
  readonly #fold: VersionFold = new VersionFold();
  readonly #hash: Uint32Array = new Uint32Array(2);
  #hashed = false;
  /** A newer source lacked a part: from then on sources are only asked what they need. */
  #gathering = false;
  readonly #counters: EngineCounters;
  /** Counted when the lookup has its answer, and not when it has to wait and starts over. */
  #tally = 0;
  #ruledOut = 0;
  /** Indexes found in the cache of tables without a filter. */
  #unfiltered = 0;
  #key: Uint8Array = EMPTY;
  #spec: ReadSpec = { maxSeq: 0, nowMillis: 0, mergeOperator: undefined };

  /**
   * @param slab where results are copied to
   * @param counters where accesses are counted
   * @param held own parts of a lookup that waits for I/O; without them needs say only that something is missing
   */
  constructor(slab: ResultSlab, counters: EngineCounters = new EngineCounters(), held?: HeldParts) {
    this.#counters = counters;
    this.#slab = slab;
    this.#held = held;
    this.#parts = held ?? NOTHING_HELD;
  }

  /**
   * Looks `key` up. On FOUND the row is in `out`, its value a copy.
   *
   * @throws InvalidArgument "merge-operator-missing", DataError when a block is damaged, and what the operator throws
   */
  tryGet(view: LsmView, key: Uint8Array, spec: ReadSpec, out: FoundRow): LookupAnswer {
    this.#key = key;
    this.#spec = spec;
    this.#hashed = false;
    this.#gathering = false;
    this.#tally = 0;
    this.#ruledOut = 0;
    this.#unfiltered = 0;
    const fold = this.#fold;
    fold.reset();
    if (this.needs.length > 0) this.needs.length = 0;
    this.#search(view);
    if (this.#gathering) return PENDING;
    if (this.#tally === USUAL && this.#ruledOut === 0 && this.#held === undefined) this.#counters.usualLookups++;
    else if ((this.#tally | this.#ruledOut | this.#unfiltered) !== 0) this.#count();
    if (!fold.found) return ABSENT;
    // Read before the operator runs: user code may look another key up and come through here again.
    const { seq, createTs, expireTs } = fold;
    out.value = fold.operands.length === 0 && !fold.operatorMissing
      ? this.#slab.copy(fold.baseBytes, fold.baseStart, fold.baseEnd)
      : this.#folded(fold, key, spec);
    out.seq = seq;
    out.createTs = createTs;
    out.expireTs = expireTs;
    return FOUND;
  }

  #folded(fold: VersionFold, key: Uint8Array, spec: ReadSpec): Uint8Array {
    const value = fold.fold(key.slice(), spec.mergeOperator);
    return this.#slab.copy(value, 0, value.length);
  }

  /** Asks the sources until one decides or no more needs can be written down. */
  #search(view: LsmView): void {
    const { memtables, l0, runs } = view;
    for (let i = 0; i < memtables.length; i++) {
      if (this.#inMemtable(memtables[i]!) === DECIDED) return;
    }
    for (let i = 0; i < l0.length; i++) {
      const ref = l0[i]!;
      if (ref.admits(this.#key) && this.#inTable(ref) === DECIDED) return;
    }
    for (let i = 0; i < runs.length; i++) {
      if (this.#inRun(runs[i]!.tables) === DECIDED) return;
    }
  }

  #inMemtable(memtable: Memtable): Verdict {
    const { maxSeq } = this.#spec;
    const hiddenBelow = memtable.ranges.count === 0 ? NOT_COVERED : memtable.ranges.seqOver(this.#key, maxSeq);
    let entry = memtable.find(this.#key, maxSeq);
    while (entry !== -1) {
      memtable.readRow(entry, this.#memRow);
      if (this.#memRow.seq < hiddenBelow || this.#fold.take(this.#memRow, this.#spec, false)) return DECIDED;
      entry = memtable.nextOlder(entry);
    }
    // A range tombstone hides whatever is in older sources.
    return hiddenBelow === NOT_COVERED ? OPEN : DECIDED;
  }

  #inRun(refs: ReadonlyArray<TableRef>): Verdict {
    const key = this.#key;
    let t = countStartingBelow(refs, key) - 1;
    if (t < 0) t = 0;
    for (; t < refs.length; t++) {
      const ref = refs[t]!;
      if (compareBytes(ref.firstEntry, key) > 0) return OPEN;
      if (ref.admits(key) && this.#inTable(ref) === DECIDED) return DECIDED;
    }
    return OPEN;
  }

  #inTable(ref: TableRef): Verdict {
    const table = ref.table;
    if (!table.hasRanges) return this.#rowsOf(table, NOT_COVERED);
    // Tombstones may reach beyond the last row.
    const hasRows = ref.last === undefined || compareBytes(this.#key, ref.last) <= 0;
    const ranges = this.#parts.ranges(table);
    if (ranges === undefined) {
      if (this.#missing(table, RANGE_SLOT, undefined, false) === DECIDED) return DECIDED;
      // What its rows need is fetched along; they are judged when the tombstones are here.
      return hasRows ? this.#rowsOf(table, NOT_COVERED) : OPEN;
    }
    const hiddenBelow = ranges.seqOver(this.#key, this.#spec.maxSeq);
    if (hasRows && this.#rowsOf(table, hiddenBelow) === DECIDED) return DECIDED;
    // A range tombstone hides whatever is in older sources.
    return hiddenBelow === NOT_COVERED ? OPEN : DECIDED;
  }

  /** Asks a table's rows; those with numbers below `hiddenBelow` are hidden. */
  #rowsOf(table: Table, hiddenBelow: number): Verdict {
    const parts = this.#parts;
    if (table.hasFilter) {
      const filter = parts.filter(table);
      if (filter === undefined) {
        const index = parts.index(table) === undefined;
        return this.#missing(table, FILTER_SLOT, undefined, index);
      }
      if (!this.#hashed) {
        sipHash13(this.#key, 0, this.#key.length, this.#hash);
        this.#hashed = true;
      }
      if (!filter.mayContainHash(this.#hash[0]!, this.#hash[1]!)) {
        this.#ruledOut++;
        return OPEN;
      }
      this.#tally += PASSED;
    } else this.#unfiltered++;
    const index = parts.index(table);
    if (index === undefined) return this.#missing(table, INDEX_SLOT, undefined, false);
    return this.#inBlocks(table, index, hiddenBelow);
  }

  #count(): void {
    const counters = this.#counters;
    const passed = this.#tally & TALLY_MASK;
    const ruledOut = this.#ruledOut;
    if (passed + ruledOut > 0) {
      counters.filterPositives += passed;
      counters.filterNegatives += ruledOut;
      counters.filterFalsePositives += passed - ((this.#tally / MET) & TALLY_MASK);
    }
    // The parts of a lookup that waited count by themselves.
    if (this.#held !== undefined) return;
    counters.filterHits += passed + ruledOut;
    counters.indexHits += passed + this.#unfiltered;
    counters.blockHits += this.#tally >>> 20;
  }

  /** The key's versions in one table, over as many blocks as they take. */
  #inBlocks(table: Table, index: TableIndex, hiddenBelow: number): Verdict {
    const key = this.#key;
    const firstKeys = index.firstKeys;
    let isMet = !table.hasFilter;
    for (let n = index.find(key); n < index.count; n++) {
      const bound = firstKeys[n]!;
      if (compareSlices(bound, 0, bound.length, key, 0, key.length) > 0) return OPEN;
      const block = this.#parts.block(table, n);
      if (block === undefined) {
        if (this.#missing(table, n, index, false) === DECIDED) return DECIDED;
        continue;
      }
      this.#tally += BLOCK;
      const rows = this.#rows;
      try {
        rows.reset(block);
        if (!rows.seekGE(key)) continue;
        do {
          if (rows.keyEnd !== key.length) return OPEN;
          if (compareSlices(rows.keyBytes, 0, rows.keyEnd, key, 0, key.length) !== 0) return OPEN;
          if (!isMet) {
            isMet = true;
            this.#tally += MET;
          }
          if (rows.seq < hiddenBelow || this.#fold.take(rows, this.#spec, false)) return DECIDED;
        } while (rows.next());
      } catch (error) {
        throw damageIn(table.path, index.offsets[n]!, error);
      }
    }
    return OPEN;
  }

  /** Writes a missing part down; DECIDED when no more fit. */
  #missing(table: Table, slot: number, index: TableIndex | undefined, alsoIndex: boolean): Verdict {
    this.#gathering = true;
    const held = this.#held;
    // The synchronous path only says that something is missing.
    if (held === undefined) return DECIDED;
    this.needs.push(new TableNeed(table, slot, held, index));
    if (alsoIndex) this.needs.push(new TableNeed(table, INDEX_SLOT, held));
    return this.needs.length >= NEEDS_MAX ? DECIDED : OPEN;
  }
}

/**
 * Looks one key up, with I/O where needed; undefined when it has no value.
 *
 * Fails with the `DataError` or `StoreError` of a table, `InvalidArgument` "merge-operator-missing", or what the merge
 * operator failed with.
 */
export function fetchLookup(
  tables: TableStore,
  view: LsmView,
  key: Uint8Array,
  spec: ReadSpec,
  options: FetchOptions,
): Effect.Effect<FoundRow | undefined, ReadError> {
  return Effect.map(fetchLookups(tables, view, [key], spec, options), (rows) => rows[0]);
}

/** Looks many keys up; their missing parts are fetched together. The answers are in the order of the keys. */
export function fetchLookups(
  tables: TableStore,
  view: LsmView,
  keys: ReadonlyArray<Uint8Array>,
  spec: ReadSpec,
  options: FetchOptions,
): Effect.Effect<Array<FoundRow | undefined>, ReadError> {
  return Effect.suspend(() => {
    const rows: Array<FoundRow | undefined> = new Array(keys.length).fill(undefined);
    const slab = new ResultSlab(keys.length > 16 ? undefined : 1024);
    const lookup = new PointLookup(slab, tables.counters, new HeldParts());
    let open = keys.map((_, i) => i);
    const round: Effect.Effect<Array<FoundRow | undefined>, ReadError> = attempt(() => {
      const needs = new Map<string, Need>();
      const stillOpen: number[] = [];
      for (const i of open) {
        const row = emptyRow();
        const answer = lookup.tryGet(view, keys[i]!, spec, row);
        if (answer === PENDING) {
          stillOpen.push(i);
          for (const need of lookup.needs) needs.set(need.key, need);
        } else {
          rows[i] = answer === FOUND ? row : undefined;
        }
      }
      open = stillOpen;
      if (open.length === 0) return Effect.succeed(rows);
      return Effect.andThen(tables.fetch([...needs.values()], options), round);
    });
    return round;
  });
}
