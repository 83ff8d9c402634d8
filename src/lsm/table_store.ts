/**
 * Tables as a state names them, and the one way to bring their parts into memory.
 *
 * `fetch` meets needs with as few requests as it can: parts that lie side by side in a table come with one range
 * request, small tables whole, parts of different tables in parallel (at most 32 requests at once). Two readers that
 * want the same part share one request; when the reader that runs it is interrupted, the next one takes over.
 *
 * Errors: damage is `DataError` with the object's name, the section and the offset in the object, after one more
 * attempt to read the same bytes; a missing object is `DataError` "missing-object" (its `cause` is the `StoreError`),
 * because whoever holds a newer manifest may know better; everything else is the store's error as it came.
 *
 * @module
 */
import { Effect, Exit } from "effect";
import { EngineCounters } from "../env/counters.ts";
import { OneShot } from "../env/one_shot.ts";
import { damageIn, DataError, FormatError, StoreError } from "../errors.ts";
import { BloomFilter } from "../format/bloom.ts";
import { tablePath } from "../format/paths.ts";
import type { SstView, Ulid } from "../format/types.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { BlockCache } from "./block_cache.ts";
import type { Need } from "./cursor.ts";
import { decode } from "./read_error.ts";
import { RangeSet } from "./range_set.ts";
import { FILTER_SLOT, INDEX_SLOT, RANGE_SLOT, Table, TableIndex } from "./table.ts";
import { type HeldParts, ownBlock, pinsMuch, slotKey, slotName, TableNeed } from "./table_parts.ts";
import {
  cutRequests,
  decodePart,
  failAll,
  type FetchOptions,
  type FetchPlan,
  type Flight,
  type Part,
  type PartRequest,
  type Piece,
  readRange,
  supply,
  type WantedPieces,
} from "./table_request.ts";

export type { FetchOptions } from "./table_request.ts";

/** Requests in flight at once for one `fetch`. */
const REQUESTS_MAX = 32;
/** Tables up to this size (data, filter and index) are read whole, bytes. */
const WHOLE_TABLE_BYTES = 65_536;
/** Stored bytes of compressed blocks that are decoded between two turns of others: about a millisecond of work. */
const TURN_BYTES = 131_072;

/** How {@linkcode TableStore} finds tables. */
export interface TableStoreOptions {
  readonly store: ObjectStoreShape;
  /** Root of the database's own tables. */
  readonly root: string;
  /** Root of a table that belongs to another database (clones); undefined for own tables. */
  readonly externalRoot?: (id: Ulid) => string | undefined;
  readonly cache: BlockCache;
}

/** The tables of one database. */
export class TableStore {
  readonly cache: BlockCache;
  /** What reads of these tables count. */
  readonly counters: EngineCounters = new EngineCounters();
  readonly #store: ObjectStoreShape;
  readonly #root: string;
  readonly #externalRoot: (id: Ulid) => string | undefined;
  readonly #tables: Map<Ulid, Table> = new Map();
  readonly #flights: Map<string, Flight> = new Map();

  constructor(options: TableStoreOptions) {
    this.cache = options.cache;
    this.#store = options.store;
    this.#root = options.root;
    this.#externalRoot = options.externalRoot ?? (() => undefined);
  }

  /** The table that `view` refers to; the same object for the same id until `retain` drops it. */
  table(view: SstView): Table {
    let table = this.#tables.get(view.sstId);
    if (table === undefined) {
      table = this.passingTable(view);
      this.#tables.set(view.sstId, table);
    }
    return table;
  }

  /** A table as `view` refers to it, that is not remembered: for merges, which pass through it once. */
  passingTable(view: SstView): Table {
    const root = this.#externalRoot(view.sstId) ?? this.#root;
    return new Table(view.sstId, tablePath(root, view.sstId), view.info, view.formatVersion, this.counters);
  }

  /** Drops tables (and their cached parts) that are not in `ids`. Readers that hold them can go on. */
  retain(ids: ReadonlySet<Ulid>): void {
    const dropped = new Set<Table>();
    for (const [id, table] of this.#tables) {
      if (ids.has(id)) continue;
      this.#tables.delete(id);
      dropped.add(table);
    }
    if (dropped.size > 0) this.cache.drop(dropped);
  }

  /** Brings what `needs` ask for into their holders (and the cache). Call the pending moves again afterwards. */
  fetch(needs: ReadonlyArray<Need>, options: FetchOptions): Effect.Effect<void, DataError | StoreError> {
    // Nothing may come between entering a flight and the duty to settle it.
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const plan = this.#plan(needs, options);
        if (plan instanceof DataError) return Effect.fail(plan);
        const joined = plan.joined.length === 0 ? Effect.void : restore(this.#join(plan, options));
        return plan.requests.length === 0 ? joined : Effect.andThen(this.#run(plan, options, restore), joined);
      })
    );
  }

  #plan(needs: ReadonlyArray<Need>, options: FetchOptions): FetchPlan | DataError {
    const isBackground = options.purpose === "preload";
    const plan: FetchPlan = { isBackground, own: [], requests: [], joined: [] };
    const pieces = new Map<Table, WantedPieces>();
    for (const need of needs) {
      if (!(need instanceof TableNeed)) throw new Error("a need that no table made");
      if (this.#supplyCached(need)) continue;
      const flight = this.#flights.get(need.key);
      // What is fetched in the background may come late: who has a deadline fetches it.
      if (flight !== undefined && (isBackground || !flight.isBackground)) {
        // Two needs of one fetch can ask for the same part: both holders get it.
        if (plan.own.includes(flight)) flight.holders.add(need.held);
        else {
          plan.joined.push({ need, flight });
          this.#missed(need.slot);
        }
        continue;
      }
      try {
        need.table.checkInfo();
      } catch (error) {
        for (const own of plan.own) this.#leave(own);
        return damageIn(need.table.path, 0, error);
      }
      let wanted = pieces.get(need.table);
      if (wanted === undefined) {
        wanted = { index: undefined, pieces: [], whole: false };
        pieces.set(need.table, wanted);
      }
      wanted.index ??= need.index;
      wanted.pieces.push(this.#piece(plan, need.table, need.slot, need.index, need.held));
      const isSmall = need.table.readEnd <= WHOLE_TABLE_BYTES && options.purpose !== "inspect";
      if (need.slot < 0 && isSmall) wanted.whole = true;
      if (need.slot >= 0) this.#readAhead(plan, need, wanted.pieces, options.readAheadBytes ?? 0);
    }
    for (const [table, wanted] of pieces) cutRequests(plan.requests, table, wanted);
    return plan;
  }

  /** What came in since the need was written down. */
  #supplyCached(need: TableNeed): boolean {
    const { table, slot, held } = need;
    if (slot >= 0) {
      const block = table.blocks[slot];
      if (block !== undefined) held.supplyBlock(table, slot, block);
      return block !== undefined;
    }
    if (slot === INDEX_SLOT) {
      if (table.index !== undefined) held.supplyIndex(table, table.index);
      return table.index !== undefined;
    }
    if (slot === RANGE_SLOT) {
      if (table.ranges !== undefined) held.supplyRanges(table, table.ranges);
      return table.ranges !== undefined;
    }
    if (table.filter !== undefined) held.supplyFilter(table, table.filter);
    return table.filter !== undefined;
  }

  /** Counts a part that was not in memory. */
  #missed(slot: number): void {
    if (slot >= 0) this.counters.blockMisses++;
    else if (slot === INDEX_SLOT) this.counters.indexMisses++;
    else if (slot === FILTER_SLOT) this.counters.filterMisses++;
  }

  #piece(plan: FetchPlan, table: Table, slot: number, index: TableIndex | undefined, held: HeldParts): Piece {
    const key = slotKey(table, slot);
    const { isBackground } = plan;
    const holders = new Set([held]);
    const flight: Flight = { key, done: new OneShot(), part: undefined, abandoned: false, holders, isBackground };
    this.#flights.set(key, flight);
    plan.own.push(flight);
    this.#missed(slot);
    const { info } = table;
    if (slot === INDEX_SLOT) return { slot, offset: info.indexOffset, length: info.indexLen, flight };
    if (slot === FILTER_SLOT) return { slot, offset: info.filterOffset, length: info.filterLen, flight };
    if (slot === RANGE_SLOT) {
      const { offset, length } = info.rangeDeletes!;
      return { slot, offset, length, flight };
    }
    if (index === undefined) throw new Error("a block was asked for without an index");
    return { slot, offset: index.offsets[slot]!, length: index.blockLength(slot), flight };
  }

  /** Adds the blocks behind a sequential need, up to the first that somebody has or is fetching. */
  #readAhead(plan: FetchPlan, need: TableNeed, into: Piece[], leastBytes: number): void {
    const { table, index, ahead, held } = need;
    if (ahead === undefined || index === undefined) return;
    const wanted = Math.max(ahead.windowBytes, leastBytes);
    let bytes = index.blockLength(need.slot);
    let n = need.slot;
    while (n !== ahead.lastBlock && bytes < wanted) {
      n += ahead.direction;
      if (held.hasBlock(table, n) || this.#flights.has(slotKey(table, n))) return;
      bytes += index.blockLength(n);
      into.push(this.#piece(plan, table, n, index, held));
    }
  }

  /** Runs the plan's requests; whatever is unfinished at the end, however it comes, is marked abandoned. */
  #run(
    plan: FetchPlan,
    options: FetchOptions,
    restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  ): Effect.Effect<void, DataError | StoreError> {
    const work = plan.requests.length === 1
      ? this.#request(plan.requests[0]!, options)
      : Effect.forEach(plan.requests, (request) => this.#request(request, options), {
        concurrency: REQUESTS_MAX,
        discard: true,
      });
    return Effect.onExit(restore(work), (exit) =>
      Effect.sync(() => {
        for (const flight of plan.own) {
          this.#leave(flight);
          if (flight.done.settled) continue;
          flight.abandoned = Exit.isFailure(exit);
          flight.done.succeed();
        }
      }));
  }

  #request(request: PartRequest, options: FetchOptions): Effect.Effect<void, DataError | StoreError> {
    const { table, pieces, whole } = request;
    const start = whole ? 0 : pieces[0]!.offset;
    const last = pieces[pieces.length - 1]!;
    const length = (whole ? table.readEnd : last.offset + last.length) - start;
    this.counters.asked(options.purpose ?? "get", length);
    const section = slotName(pieces[0]!.slot);
    return this.#range(table, start, length, section, options).pipe(
      Effect.flatMap((bytes) => this.#settle(request, bytes, start, options)),
      // Another reader's deadline may be later than that of the one who asked: it asks again for itself.
      Effect.tapError((error) =>
        error instanceof StoreError && error.retryable ? Effect.void : Effect.sync(() => failAll(pieces, error))
      ),
    );
  }

  #range(
    table: Table,
    offset: number,
    length: number,
    section: string,
    { purpose }: FetchOptions,
    fresh: boolean = false,
  ): Effect.Effect<Uint8Array, DataError | StoreError> {
    const hint = { knownEnd: table.readEnd, fresh, background: purpose === "preload" };
    return readRange(this.#store, table.path, offset, length, section, hint);
  }

  /** Decodes what a request brought; damaged parts are read once more. */
  #settle(request: PartRequest, bytes: Uint8Array, start: number, options: FetchOptions): Effect.Effect<
    void,
    DataError | StoreError
  > {
    return Effect.suspend(() => {
      const damaged: Piece[] = [];
      const { pieces } = request;
      let next = 0;
      const acceptSome = (): Effect.Effect<void> => {
        const turnBytes = request.table.info.compression === 0 ? Infinity : TURN_BYTES;
        for (let done = 0; next < pieces.length && done < turnBytes; next++) {
          const piece = pieces[next]!;
          const at = piece.offset - start;
          done += piece.length;
          if (!this.#accept(request, piece, bytes.subarray(at, at + piece.length), options)) damaged.push(piece);
        }
        return next < pieces.length ? Effect.flatMap(Effect.yieldNow, acceptSome) : Effect.void;
      };
      const again = Effect.suspend(() =>
        Effect.forEach(damaged, (piece) => this.#readAgain(request, piece, options), { discard: true })
      );
      const all = Effect.andThen(acceptSome(), again);
      return request.whole
        ? Effect.flatMap(all, () => Effect.sync(() => this.#keepWhole(request, bytes, options)))
        : all;
    });
  }

  #accept(request: PartRequest, piece: Piece, bytes: Uint8Array, options: FetchOptions): boolean {
    try {
      this.#deliver(request, piece, decodePart(request.table, piece.slot, bytes), options);
      return true;
    } catch (error) {
      if (error instanceof FormatError) return false;
      throw error;
    }
  }

  #readAgain(request: PartRequest, piece: Piece, options: FetchOptions): Effect.Effect<void, DataError | StoreError> {
    const { table } = request;
    return Effect.flatMap(
      this.#range(table, piece.offset, piece.length, slotName(piece.slot), options, true),
      (bytes) =>
        decode(
          table.path,
          piece.offset,
          () => this.#deliver(request, piece, decodePart(table, piece.slot, bytes), options),
        ),
    );
  }

  #deliver(request: PartRequest, piece: Piece, part: Part, options: FetchOptions): void {
    const { flight, slot } = piece;
    const kept = this.#keep(request.table, slot, part, request.index, options);
    flight.part = kept;
    for (const held of flight.holders) supply(held, request.table, slot, kept);
    this.#leave(flight);
    flight.done.succeed();
  }

  #leave(flight: Flight): void {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key);
  }

  /** Puts a part into the cache, if it may. */
  #keep(
    table: Table,
    slot: number,
    part: Part,
    index: TableIndex | undefined,
    options: FetchOptions,
  ): Part {
    if (part instanceof TableIndex) {
      this.cache.putIndex(table, part);
    } else if (part instanceof BloomFilter) {
      this.cache.putFilter(table, part);
    } else if (part instanceof RangeSet) {
      this.cache.putRanges(table, part);
    } else if (options.cache && index !== undefined) {
      const own = pinsMuch(part.data) ? ownBlock(part) : part;
      this.cache.putBlock(table, index, slot, own);
      return own;
    }
    return part;
  }

  /** A table that was read whole: whatever of it nobody asked for goes to the asker too, unless it is damaged. */
  #keepWhole(request: PartRequest, bytes: Uint8Array, options: FetchOptions): void {
    const { table, pieces } = request;
    const holders = new Set<HeldParts>();
    for (const piece of pieces) for (const held of piece.flight.holders) holders.add(held);
    const offer = (slot: number, offset: number, length: number, index: TableIndex | undefined) => {
      if (pieces.some((piece) => piece.slot === slot)) return undefined;
      try {
        const part = decodePart(table, slot, bytes.subarray(offset, offset + length));
        const kept = this.#keep(table, slot, part, index, options);
        for (const held of holders) supply(held, table, slot, kept);
        return kept;
      } catch (error) {
        if (error instanceof FormatError) return undefined;
        throw error;
      }
    };
    const { info } = table;
    const indexPiece = pieces.find((piece) => piece.slot === INDEX_SLOT);
    const index = indexPiece === undefined
      ? offer(INDEX_SLOT, info.indexOffset, info.indexLen, undefined)
      : indexPiece.flight.part;
    const ranges = info.rangeDeletes;
    if (ranges !== undefined) offer(RANGE_SLOT, ranges.offset, ranges.length, undefined);
    if (table.hasFilter) offer(FILTER_SLOT, info.filterOffset, info.filterLen, undefined);
    if (!(index instanceof TableIndex)) return;
    for (let n = 0; n < index.count; n++) offer(n, index.offsets[n]!, index.blockLength(n), index);
  }

  /** Waits for parts that other readers are fetching; goes on by itself where such a reader gave up. */
  #join(plan: FetchPlan, options: FetchOptions): Effect.Effect<void, DataError | StoreError> {
    const left: TableNeed[] = [];
    const wait = Effect.forEach(plan.joined, ({ need, flight }) =>
      Effect.map(flight.done.wait, () => {
        if (flight.part === undefined) return void left.push(need);
        const { held, table, slot, index } = need;
        supply(held, table, slot, this.#keep(table, slot, flight.part, index, options));
      }), { discard: true });
    return Effect.flatMap(wait, () => left.length === 0 ? Effect.void : this.fetch(left, options));
  }
}
