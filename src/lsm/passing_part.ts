/**
 * Byte ranges of tables as a walk that passes through them once reads them: an index, or a window of many blocks.
 *
 * A part is read with one request and kept as it came; blocks are decoded when the walk reaches them. Whoever waits for
 * a part that is being read waits for that request, and goes on by itself when it failed.
 *
 * @module
 */
import { Effect } from "effect";
import { OneShot } from "../env/one_shot.ts";
import { damageIn, type DataError, type StoreError } from "../errors.ts";
import type { IndexReader } from "../format/sst_tables.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { Need } from "./cursor.ts";
import type { Table } from "./table.ts";
import { readRange } from "./table_request.ts";

/** One range of one table. */
export class PassingPart implements Need {
  readonly key: string;
  readonly table: Table;
  /** Name in errors. */
  readonly section: string;
  readonly offset: number;
  readonly length: number;
  /** The bytes, once they are there. */
  bytes: Uint8Array | undefined = undefined;
  /** How often they turned out to be damaged. */
  damages: number = 0;
  /** Reading it ahead has failed: the walk asks for it when it gets there. */
  hasFailed: boolean = false;
  /** @internal Settled when the request under way has ended. */
  flight: OneShot<never> | undefined = undefined;

  constructor(table: Table, section: string, offset: number, length: number) {
    this.key = `${table.path}:${offset}+${length}`;
    this.table = table;
    this.section = section;
    this.offset = offset;
    this.length = length;
  }
}

/** Some blocks that follow each other. */
export class BlockWindow extends PassingPart {
  /** Position of the table in its run. */
  readonly at: number;
  /** Number of the first block. */
  readonly first: number;
  /** Where each block begins in the object, and where the last one ends. */
  readonly offsets: Float64Array;
  readonly #index: IndexReader;

  constructor(table: Table, at: number, first: number, offsets: Float64Array, index: IndexReader) {
    const offset = offsets[0]!;
    super(table, `block ${first}`, offset, offsets[offsets.length - 1]! - offset);
    this.at = at;
    this.first = first;
    this.offsets = offsets;
    this.#index = index;
  }

  /** Number behind the last block. */
  get end(): number {
    return this.first + this.offsets.length - 1;
  }

  /** First block of the table that may hold a row with a key of at least `key`. */
  find(key: Uint8Array): number {
    return findBlock(this.table, this.#index, key);
  }

  /** The stored bytes of block `n`. */
  blockBytes(n: number): Uint8Array {
    const at = n - this.first;
    const start = this.offsets[at]! - this.offset;
    return this.bytes!.subarray(start, this.offsets[at + 1]! - this.offset);
  }
}

/**
 * First block of `table` that may hold a row with a key of at least `key`.
 *
 * @throws DataError when the index is damaged
 */
export function findBlock(table: Table, index: IndexReader, key: Uint8Array): number {
  try {
    return index.find(key);
  } catch (error) {
    throw damageIn(table.path, table.info.indexOffset, error);
  }
}

/** Reads a part, unless it is there. */
export function fetchPart(store: ObjectStoreShape, part: PassingPart): Effect.Effect<void, DataError | StoreError> {
  return Effect.suspend(() => {
    if (part.bytes !== undefined) return Effect.void;
    if (part.flight !== undefined) return Effect.andThen(part.flight.wait, fetchPart(store, part));
    const flight = new OneShot<never>();
    part.flight = flight;
    return readRange(store, part.table.path, part.offset, part.length, part.section).pipe(
      Effect.map((bytes) => void (part.bytes = bytes)),
      Effect.onExit(() =>
        Effect.sync(() => {
          part.flight = undefined;
          flight.succeed();
        })
      ),
    );
  });
}
