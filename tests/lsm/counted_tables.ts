/**
 * Tables on a store that counts range reads.
 *
 * @module
 */
import { Effect } from "effect";
import type { Entry } from "../../src/db/api.ts";
import { FLAG_CREATE, NO_EXPIRY, type SstView } from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { FULL_RANGE } from "../../src/lsm/key_range.ts";
import { fetchLookup } from "../../src/lsm/lookup.ts";
import type { LsmView } from "../../src/lsm/lsm_view.ts";
import { fetchRows, RowScan, type RowScanOptions } from "../../src/lsm/row_scan.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import type { ReadSpec } from "../../src/lsm/version_fold.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { type ModelRow, now, testUlid, writeTable } from "./read_world.ts";

export const SPEC: ReadSpec = { maxSeq: 1e9, nowMillis: -Infinity, mergeOperator: undefined };

export interface Counted {
  readonly store: ObjectStoreShape;
  readonly requests: string[];
  bytes: number;
}

/** A store that counts range reads; nothing else may be asked of it. */
export function counting(inner: MemoryStore): Counted {
  const counted: Counted = {
    requests: [],
    bytes: 0,
    store: {
      ...inner,
      getRange: (path, range) =>
        Effect.suspend(() => {
          counted.requests.push(`${path.slice(-6)} ${range.offset}+${range.length}`);
          counted.bytes += range.length;
          return inner.getRange(path, range);
        }),
    },
  };
  return counted;
}

export function key(n: number): Uint8Array {
  return new TextEncoder().encode(`key${String(n).padStart(8, "0")}`);
}

export function makeRows(count: number, valueBytes: number, step = 1): ModelRow[] {
  const value = new Uint8Array(valueBytes).fill(0x76);
  return Array.from({ length: count }, (_, i) => ({
    key: key(i * step),
    seq: i + 1,
    flags: FLAG_CREATE,
    createTs: 5,
    expireTs: NO_EXPIRY,
    value,
  }));
}

export interface Setup {
  readonly memory: MemoryStore;
  readonly counted: Counted;
  readonly tables: TableStore;
  readonly views: SstView[];
  readonly refs: TableRef[];
  readonly view: LsmView;
}

/** One table per list of rows, as L0. */
export function setup(lists: ReadonlyArray<ModelRow[]>, cacheBytes: number, metaBytes?: number): Setup {
  const memory = memoryStore();
  const counted = counting(memory);
  const cache = new BlockCache({ blockBytes: cacheBytes, ...(metaBytes === undefined ? {} : { metaBytes }) });
  const tables = new TableStore({ store: counted.store, root: "db", cache });
  const views = lists.map((rows, i) => writeTable(memory, "db", testUlid(i + 1), rows, { blockSizeBytes: 4096 }));
  const refs = views.map((view) => new TableRef(tables.table(view), view));
  return { memory, counted, tables, views, refs, view: { memtables: [], l0: refs, runs: [] } };
}

export function get(of: Setup, wanted: Uint8Array, cache = true) {
  return fetchLookup(of.tables, of.view, wanted, SPEC, { cache });
}

export function scanRows(of: Setup, from: number, count: number, options: RowScanOptions): Entry[] {
  const scan = new RowScan(of.view, { ...FULL_RANGE, start: key(from) }, SPEC, options);
  const rows: Entry[] = [];
  now(fetchRows(of.tables, scan, rows, count, { cache: false }));
  return rows;
}
