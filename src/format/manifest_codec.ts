/**
 * The manifest's bytes: version 1 is written, 1 and 2 are read; with features the version is 0x8001.
 *
 * ```text
 * u16 big-endian version | FlatBuffer                                            no checksum
 * slot  version 1                                version 2
 * 0-6   manifest_id, external_dbs, initialized, writer_epoch, compactor_epoch, replay_after_wal_id, wal_id_last_seen
 * 7     l0_last_compacted (SST id)               the same as a view id
 * 8     l0 [CompactedSsTable]                    ssts [CompactedSsTableV2]
 * 9     compacted [SortedRun]                    l0 [CompactedSsTableView]
 * 10    last_l0_clock_tick                       compacted [SortedRunV2]
 * 11    checkpoints                              last_l0_clock_tick
 * 12    last_l0_seq                              checkpoints
 * 13    wal_object_store_uri                     last_l0_seq
 * 14    recent_snapshot_min_seq                  recent_snapshot_min_seq
 * 15    sequence_tracker [u8]                    sequence_tracker
 * ```
 *
 * Version 0x8001 is version 1 with slot 32, features [string]: what a reader must know. SlateDB refuses such a manifest
 * before it reads anything else, and so the database as a whole.
 *
 * Everything that a value holds is carried over by decode and encode; fields in unknown slots are not. Without a
 * checksum a flipped bit may give another manifest; it never gives an exception other than `FormatError`.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { FlatReader, type FlatTable } from "./flatbuffer_reader.ts";
import {
  addRef,
  addTick,
  addU32,
  addU64,
  Builder,
  byteVector,
  finishBuffer,
  offsetVector,
} from "./flatbuffer_writer.ts";
import {
  type CheckpointRecord,
  type ExternalDb,
  type Manifest,
  RANGE_DELETES,
  RANGE_FORMAT,
  type SortedRun,
  type SstView,
  type TableFormat,
  type Ulid,
} from "./types.ts";
import {
  readRuns,
  readStoredSst,
  readUlid,
  readUuid,
  readView,
  readViewOf,
  type StoredSst,
  writeRuns,
  writeUlid,
  writeUlids,
  writeUuid,
  writeViews,
} from "./view_tables.ts";

const SECTION = "manifest";
const VERSION_1: Uint8Array = Uint8Array.of(0, 1);
const WITH_FEATURES: Uint8Array = Uint8Array.of(RANGE_FORMAT >> 8, RANGE_FORMAT & 0xff);
const FEATURES_SLOT = 32;
const KNOWN_FEATURES: ReadonlySet<string> = new Set([RANGE_DELETES]);
const WRITER_CHECKPOINT = 1;

/** A manifest and the version its bytes had. */
export interface DecodedManifest {
  readonly version: TableFormat;
  readonly manifest: Manifest;
}

/**
 * Encodes a manifest as version 1, or 0x8001 if it lists features. View ids are not stored: reading gives every view its SST's id.
 *
 * @throws RangeError when a number does not fit its field, which is a bug of the caller
 */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const builder = new Builder(1024);
  const externalDbs = manifest.externalDbs.length === 0
    ? undefined
    : offsetVector(builder, manifest.externalDbs.map((external) => writeExternalDb(builder, external)));
  const lastCompacted = manifest.lastCompactedL0 === undefined
    ? undefined
    : writeUlid(builder, sstOfView(manifest, manifest.lastCompactedL0));
  const l0 = writeViews(builder, manifest.l0);
  const compacted = writeRuns(builder, manifest.compacted);
  const checkpoints = offsetVector(builder, manifest.checkpoints.map((record) => writeCheckpoint(builder, record)));
  const uri = manifest.walObjectStoreUri === undefined ? undefined : builder.createString(manifest.walObjectStoreUri);
  const tracker = byteVector(builder, manifest.sequenceTracker);
  const features = manifest.features ?? [];
  const names = features.length === 0
    ? undefined
    : offsetVector(builder, features.map((name) => builder.createString(name)));
  builder.startObject(names === undefined ? 16 : FEATURES_SLOT + 1);
  addRef(builder, FEATURES_SLOT, names);
  addU64(builder, 14, manifest.recentSnapshotMinSeq);
  addU64(builder, 12, manifest.lastL0Seq);
  addTick(builder, 10, manifest.lastL0ClockTick);
  addU64(builder, 6, manifest.walIdLastSeen);
  addU64(builder, 5, manifest.replayAfterWalId);
  addU64(builder, 4, manifest.compactorEpoch);
  addU64(builder, 3, manifest.writerEpoch);
  addRef(builder, 15, tracker);
  addRef(builder, 13, uri);
  addRef(builder, 11, checkpoints);
  addRef(builder, 9, compacted);
  addRef(builder, 8, l0);
  addRef(builder, 7, lastCompacted);
  addRef(builder, 1, externalDbs);
  builder.addFieldInt8(2, manifest.initialized ? 1 : 0, 0);
  return finishBuffer(builder, builder.endObject(), names === undefined ? VERSION_1 : WITH_FEATURES);
}

/**
 * Decodes a manifest of version 1, 2 or 0x8001. Nothing in the value is a view into `bytes`.
 *
 * @throws FormatError "unsupported-version" (of the manifest or of an SST it names), "unsupported-codec", "truncated"
 * or "malformed"
 */
export function decodeManifest(bytes: Uint8Array): DecodedManifest {
  if (bytes.length < 2) throw new FormatError(SECTION, bytes.length, "truncated", `${bytes.length} bytes`);
  const version = (bytes[0]! << 8) | bytes[1]!;
  if (version !== 1 && version !== 2 && version !== RANGE_FORMAT) {
    const detail = `manifest version ${version}, known are 1, 2 and ${RANGE_FORMAT}`;
    throw new FormatError(SECTION, 0, "unsupported-version", detail);
  }
  const root = new FlatReader(bytes, SECTION, 2).root();
  if (version === 2) return { version, manifest: readVersion2(root) };
  const manifest = readVersion1(root);
  return { version, manifest: version === 1 ? manifest : { ...manifest, features: readFeatures(root) } };
}

/** The features; those that are not known here could have anything misread. */
function readFeatures(root: FlatTable): string[] {
  const features = root.strings(FEATURES_SLOT) ?? [];
  if (features.length === 0) root.fail("a version for features without any");
  const unknown = features.filter((name) => !KNOWN_FEATURES.has(name));
  if (unknown.length > 0) {
    root.fail(`features ${unknown.join(", ")}, known are ${[...KNOWN_FEATURES].join(", ")}`, "unsupported-version");
  }
  return features;
}

/** What both versions keep in the same slots. */
type Common = Omit<
  Manifest,
  "l0" | "compacted" | "lastL0ClockTick" | "checkpoints" | "lastL0Seq" | "walObjectStoreUri"
>;

function readCommon(root: FlatTable): Common {
  const lastCompacted = root.table(7);
  return {
    externalDbs: root.tables(1, readExternalDb) ?? [],
    initialized: root.u8(2) !== 0,
    writerEpoch: root.u64(3),
    compactorEpoch: root.u64(4),
    replayAfterWalId: root.u64(5),
    walIdLastSeen: root.u64(6),
    lastCompactedL0: lastCompacted === undefined ? undefined : readUlid(lastCompacted),
    recentSnapshotMinSeq: root.u64(14),
    sequenceTracker: root.copiedBytes(15),
  };
}

function readVersion1(root: FlatTable): Manifest {
  return {
    ...readCommon(root),
    l0: root.requiredTables(8, "l0", readView),
    compacted: readRuns(root, 9, readView),
    lastL0ClockTick: root.tick(10),
    checkpoints: root.requiredTables(11, "checkpoints", readCheckpoint),
    lastL0Seq: root.u64(12),
    walObjectStoreUri: root.string(13),
  };
}

function readVersion2(root: FlatTable): Manifest {
  const stored = new Map<Ulid, StoredSst>();
  root.requiredTables(8, "ssts", (table) => {
    const sst = readStoredSst(table);
    stored.set(sst.sstId, sst);
  });
  const view = (table: FlatTable): SstView => readViewOf(table, stored);
  return {
    ...readCommon(root),
    l0: root.requiredTables(9, "l0", view),
    compacted: readRuns(root, 10, view),
    lastL0ClockTick: root.tick(11),
    checkpoints: root.requiredTables(12, "checkpoints", readCheckpoint),
    lastL0Seq: root.u64(13),
    walObjectStoreUri: undefined,
  };
}

function readExternalDb(table: FlatTable): ExternalDb {
  const final = table.table(2);
  return {
    path: table.requiredString(0, "path"),
    sourceCheckpointId: readUuid(table.requiredTable(1, "source_checkpoint_id")),
    finalCheckpointId: final === undefined ? undefined : readUuid(final),
    sstIds: table.requiredTables(3, "sst_ids", readUlid),
  };
}

function writeExternalDb(builder: Builder, external: ExternalDb): number {
  const path = builder.createString(external.path);
  const source = writeUuid(builder, external.sourceCheckpointId);
  const final = external.finalCheckpointId === undefined ? undefined : writeUuid(builder, external.finalCheckpointId);
  const sstIds = writeUlids(builder, external.sstIds);
  builder.startObject(4);
  addRef(builder, 0, path);
  addRef(builder, 1, source);
  addRef(builder, 2, final);
  addRef(builder, 3, sstIds);
  return builder.endObject();
}

function readCheckpoint(table: FlatTable): CheckpointRecord {
  return {
    id: readUuid(table.requiredTable(0, "id")),
    manifestId: table.u64(1),
    expireTimeSeconds: table.u32(2),
    createTimeSeconds: table.u32(3),
    name: table.string(6),
    writerEpoch: readWriterEpoch(table),
  };
}

/** The metadata union: nothing, or a WriterCheckpoint with an epoch. Another kind could not be carried over. */
function readWriterEpoch(table: FlatTable): number | undefined {
  const type = table.u8(4);
  const metadata = table.table(5);
  if (type === 0 && metadata === undefined) return undefined;
  if (type === WRITER_CHECKPOINT && metadata !== undefined) return metadata.u64(0);
  return table.fail(`checkpoint metadata of type ${type} ${metadata === undefined ? "without" : "with"} a value`);
}

function writeCheckpoint(builder: Builder, record: CheckpointRecord): number {
  const id = writeUuid(builder, record.id);
  const name = record.name === undefined ? undefined : builder.createString(record.name);
  let metadata: number | undefined;
  if (record.writerEpoch !== undefined) {
    builder.startObject(1);
    addU64(builder, 0, record.writerEpoch);
    metadata = builder.endObject();
  }
  builder.startObject(7);
  addU64(builder, 1, record.manifestId);
  addRef(builder, 0, id);
  addU32(builder, 2, record.expireTimeSeconds);
  addU32(builder, 3, record.createTimeSeconds);
  addRef(builder, 5, metadata);
  addRef(builder, 6, name);
  builder.addFieldInt8(4, metadata === undefined ? 0 : WRITER_CHECKPOINT, 0);
  return builder.endObject();
}

/** The SST behind a view that is still named; an id of neither kind is kept as it is. */
function sstOfView(manifest: Manifest, viewId: Ulid): Ulid {
  const inL0 = manifest.l0.find((view) => view.viewId === viewId);
  if (inL0 !== undefined) return inL0.sstId;
  const views = manifest.compacted.flatMap((run: SortedRun) => run.ssts);
  return views.find((view) => view.viewId === viewId)?.sstId ?? viewId;
}
