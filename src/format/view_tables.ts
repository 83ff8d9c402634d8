/**
 * FlatBuffers tables shared by the manifest and the compactions object: identities, key ranges, references to SSTs.
 *
 * ```text
 * Ulid, Uuid             0 high u64   1 low u64
 * BytesBound             0 key [u8]   1 bound_type i8: 1 unbounded, 2 included, 3 excluded
 * BytesRange             0 start_bound required   1 end_bound required
 * CompactedSsTable       0 id required   1 info required   2 visible_range   3 format_version u16 (absent means 1)
 * SortedRun              0 id u32   1 ssts [CompactedSsTable] required
 * ```
 *
 * Invariants kept on reading: an included or excluded bound has a key and an unbounded one has none; a visible range
 * does not begin with an excluded key; a referenced SST names its first key; runs come in descending order of ids.
 * Readers depend on all four, so bytes that break them are "malformed".
 *
 * @module
 */
import { addRef, addU128, addU16, addU32, type Builder, byteVector, offsetVector } from "./flatbuffer_writer.ts";
import type { FlatTable } from "./flatbuffer_reader.ts";
import { readSstInfo, writeSstInfo } from "./sst_tables.ts";
import {
  type Bound,
  type BoundRange,
  RANGE_FORMAT,
  type SortedRun,
  type SstInfo,
  type SstView,
  type TableFormat,
  type Ulid,
  type Uuid,
} from "./types.ts";
import { ulidFromBytes, ulidToBytes, uuidFromBytes, uuidToBytes } from "./ulid.ts";

const UNBOUNDED = 1;
const INCLUDED = 2;
const EXCLUDED = 3;

/** Reads a Ulid table. */
export function readUlid(table: FlatTable): Ulid {
  return ulidFromBytes(table.u128(0));
}

/** Writes a Ulid table. */
export function writeUlid(builder: Builder, id: Ulid): number {
  return writeIdentity(builder, ulidToBytes(id));
}

/** Reads a Uuid table. */
export function readUuid(table: FlatTable): Uuid {
  return uuidFromBytes(table.u128(0));
}

/** Writes a Uuid table. */
export function writeUuid(builder: Builder, id: Uuid): number {
  return writeIdentity(builder, uuidToBytes(id));
}

/** Writes a vector of Ulid tables. */
export function writeUlids(builder: Builder, ids: ReadonlyArray<Ulid>): number {
  return offsetVector(builder, ids.map((id) => writeUlid(builder, id)));
}

/** Reads a BytesRange that limits a reference. */
function readVisibleRange(table: FlatTable): BoundRange {
  const startTable = table.requiredTable(0, "start_bound");
  const start = readBound(startTable);
  if (start.key !== undefined && !start.inclusive) startTable.fail("a visible range begins with an excluded key");
  return { start, end: readBound(table.requiredTable(1, "end_bound")) };
}

/** Reads a CompactedSsTable: version 1 has no view ids, the SST's id stands for the view. */
export function readView(table: FlatTable): SstView {
  const sstId = readUlid(table.requiredTable(0, "id"));
  const info = readSstInfo(table.requiredTable(1, "info"));
  const range = table.table(2);
  const visibleRange = range === undefined ? undefined : readVisibleRange(range);
  return checkedView(table, sstId, { sstId, info, formatVersion: readFormatVersion(table, 3) }, visibleRange);
}

/** An SST as the list of a version 2 manifest has it. */
export interface StoredSst {
  readonly sstId: Ulid;
  readonly info: SstInfo;
  readonly formatVersion: TableFormat;
}

/** Reads a CompactedSsTableV2: an SST without a range, to be referred to by id. */
export function readStoredSst(table: FlatTable): StoredSst {
  return {
    sstId: readUlid(table.requiredTable(0, "id")),
    info: readSstInfo(table.requiredTable(1, "info")),
    formatVersion: readFormatVersion(table, 2),
  };
}

/** Reads a CompactedSsTableView, whose SST is looked up in `stored`. */
export function readViewOf(table: FlatTable, stored: ReadonlyMap<Ulid, StoredSst>): SstView {
  const viewId = readUlid(table.requiredTable(0, "id"));
  const sstId = readUlid(table.requiredTable(1, "sst_id"));
  const range = table.table(2);
  const visibleRange = range === undefined ? undefined : readVisibleRange(range);
  const sst = stored.get(sstId) ??
    table.fail(`view ${viewId} refers to SST ${sstId}, which the manifest does not list`);
  return checkedView(table, viewId, sst, visibleRange);
}

/** Writes a CompactedSsTable; the view's own id is not stored. */
function writeView(builder: Builder, view: SstView): number {
  const id = writeUlid(builder, view.sstId);
  const info = writeSstInfo(builder, view.info);
  const range = view.visibleRange === undefined ? undefined : writeRange(builder, view.visibleRange);
  builder.startObject(4);
  addRef(builder, 0, id);
  addRef(builder, 1, info);
  addRef(builder, 2, range);
  addU16(builder, 3, view.formatVersion);
  return builder.endObject();
}

/** Writes a vector of CompactedSsTable. */
export function writeViews(builder: Builder, views: ReadonlyArray<SstView>): number {
  return offsetVector(builder, views.map((view) => writeView(builder, view)));
}

/** Reads sorted runs of either version, with `view` for the entries. */
export function readRuns(table: FlatTable, slot: number, view: (table: FlatTable) => SstView): SortedRun[] {
  let lastId = Infinity;
  return table.requiredTables(slot, "compacted", (run) => {
    const id = run.u32(0);
    if (id >= lastId) run.fail(`sorted run ${id} follows run ${lastId}: ids must descend`);
    lastId = id;
    return { id, ssts: run.requiredTables(1, "ssts", view) };
  });
}

/** Writes a vector of SortedRun. */
export function writeRuns(builder: Builder, runs: ReadonlyArray<SortedRun>): number {
  const offsets = runs.map((run) => {
    const ssts = writeViews(builder, run.ssts);
    builder.startObject(2);
    addU32(builder, 0, run.id);
    addRef(builder, 1, ssts);
    return builder.endObject();
  });
  return offsetVector(builder, offsets);
}

function checkedView(
  table: FlatTable,
  viewId: Ulid,
  sst: StoredSst,
  visibleRange: BoundRange | undefined,
): SstView {
  if (sst.info.firstEntry === undefined) table.fail(`SST ${sst.sstId} has no first_entry`);
  if ((sst.info.rangeDeletes !== undefined) !== (sst.formatVersion === RANGE_FORMAT)) {
    table.fail(`SST ${sst.sstId} of format ${sst.formatVersion}, which does not go with its range tombstones`);
  }
  return { viewId, sstId: sst.sstId, info: sst.info, visibleRange, formatVersion: sst.formatVersion };
}

function readFormatVersion(table: FlatTable, slot: number): TableFormat {
  const version = table.u16(slot, 1);
  if (version === 1 || version === 2 || version === RANGE_FORMAT) return version;
  return table.fail(`SST format version ${version}, known are 1, 2 and ${RANGE_FORMAT}`, "unsupported-version");
}

function readBound(table: FlatTable): Bound {
  const key = table.copiedBytes(0);
  const type = table.i8(1);
  if (type === UNBOUNDED && key === undefined) return { key, inclusive: false };
  if ((type === INCLUDED || type === EXCLUDED) && key !== undefined) return { key, inclusive: type === INCLUDED };
  return table.fail(`bound of type ${type} ${key === undefined ? "without" : "with"} a key`);
}

function writeRange(builder: Builder, range: BoundRange): number {
  if (range.start.key !== undefined && !range.start.inclusive) {
    throw new RangeError("A visible range cannot begin with an excluded key");
  }
  const start = writeBound(builder, range.start);
  const end = writeBound(builder, range.end);
  builder.startObject(2);
  addRef(builder, 0, start);
  addRef(builder, 1, end);
  return builder.endObject();
}

function writeBound(builder: Builder, bound: Bound): number {
  const key = byteVector(builder, bound.key);
  builder.startObject(2);
  addRef(builder, 0, key);
  builder.addFieldInt8(1, bound.key === undefined ? UNBOUNDED : bound.inclusive ? INCLUDED : EXCLUDED, 0);
  return builder.endObject();
}

function writeIdentity(builder: Builder, bytes: Uint8Array): number {
  builder.startObject(2);
  addU128(builder, 0, bytes);
  return builder.endObject();
}
