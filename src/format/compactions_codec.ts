/**
 * The bytes of the compactions object: version 1.
 *
 * ```text
 * u16 big-endian version = 1 | FlatBuffer                                        no checksum
 * CompactionsV1         0 compactor_epoch u64   1 recent_compactions [Compaction] required
 * Compaction            0 id Ulid required   1 spec_type u8 = 1   2 spec required
 *                       3 status i8: 0 submitted, 1 running, 2 completed, 3 failed   4 output_ssts [CompactedSsTable]
 * TieredCompactionSpec  0 ssts [Ulid], read when slot 2 is absent   1 sorted_runs [u32]   2 l0_view_ids [Ulid]
 * ```
 *
 * The destination run is not stored: {@linkcode destinationRun}. An unknown status reads as submitted, as the official
 * reader has it; an unknown kind of specification is refused.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { FlatReader, type FlatTable } from "./flatbuffer_reader.ts";
import { addRef, addU64, Builder, finishBuffer, offsetVector, u32Vector } from "./flatbuffer_writer.ts";
import type { CompactionRecord, Compactions, CompactionStatus } from "./types.ts";
import { readUlid, readView, writeUlid, writeUlids, writeViews } from "./view_tables.ts";

const SECTION = "compactions";
const VERSION_1: Uint8Array = Uint8Array.of(0, 1);
const TIERED = 1;
const STATUSES: readonly CompactionStatus[] = ["submitted", "running", "completed", "failed"];

/** Encodes the compactor's state. Throws RangeError when a number does not fit its field, a bug of the caller. */
export function encodeCompactions(value: Compactions): Uint8Array {
  const builder = new Builder(1024);
  const records = offsetVector(builder, value.recentCompactions.map((record) => writeRecord(builder, record)));
  builder.startObject(2);
  addU64(builder, 0, value.compactorEpoch);
  addRef(builder, 1, records);
  return finishBuffer(builder, builder.endObject(), VERSION_1);
}

/**
 * Decodes the compactor's state. Nothing in the value is a view into `bytes`.
 *
 * @throws FormatError "unsupported-version", "unsupported-codec", "truncated" or "malformed"
 */
export function decodeCompactions(bytes: Uint8Array): Compactions {
  if (bytes.length < 2) throw new FormatError(SECTION, bytes.length, "truncated", `${bytes.length} bytes`);
  const version = (bytes[0]! << 8) | bytes[1]!;
  if (version !== 1) {
    throw new FormatError(SECTION, 0, "unsupported-version", `compactions version ${version}, known is 1`);
  }
  const root = new FlatReader(bytes, SECTION, 2).root();
  return {
    compactorEpoch: root.u64(0),
    recentCompactions: root.requiredTables(1, "recent_compactions", readRecord),
  };
}

/**
 * The run that a stored compaction writes to: the smallest of its source runs, 0 when it has none. For an active
 * compaction of level 0 alone the 0 is only a stand-in, since the format has no field for it: such a one writes to the
 * highest run id + 1, or to 0 when there are no runs.
 */
export function destinationRun(record: CompactionRecord): number {
  return record.sortedRuns.reduce((least, run) => Math.min(least, run), record.sortedRuns[0] ?? 0);
}

function readRecord(table: FlatTable): CompactionRecord {
  const specType = table.u8(1);
  if (specType !== TIERED) table.fail(`compaction specification of type ${specType}, known is ${TIERED}`);
  const spec = table.requiredTable(2, "spec");
  return {
    id: readUlid(table.requiredTable(0, "id")),
    l0ViewIds: spec.tables(2, readUlid) ?? spec.tables(0, readUlid) ?? [],
    sortedRuns: spec.u32s(1) ?? [],
    status: STATUSES[table.i8(3)] ?? "submitted",
    outputSsts: table.tables(4, readView) ?? [],
  };
}

function writeRecord(builder: Builder, record: CompactionRecord): number {
  const id = writeUlid(builder, record.id);
  const runs = record.sortedRuns.length === 0 ? undefined : u32Vector(builder, record.sortedRuns);
  const views = record.l0ViewIds.length === 0 ? undefined : writeUlids(builder, record.l0ViewIds);
  builder.startObject(3);
  addRef(builder, 1, runs);
  addRef(builder, 2, views);
  const spec = builder.endObject();
  const outputs = record.outputSsts.length === 0 ? undefined : writeViews(builder, record.outputSsts);
  builder.startObject(5);
  addRef(builder, 0, id);
  addRef(builder, 2, spec);
  addRef(builder, 4, outputs);
  builder.addFieldInt8(1, TIERED, 0);
  builder.addFieldInt8(3, STATUSES.indexOf(record.status), 0);
  return builder.endObject();
}
