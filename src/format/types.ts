/**
 * The values that the control objects hold: manifest, compactions, table descriptions.
 *
 * Plain immutable data, no behaviour. Numbers are JavaScript numbers (decision D7): the codecs refuse a stored value
 * beyond 2 ** 53 - 1. ULIDs and UUIDs are text.
 *
 * @module
 */

/** 26 upper-case Crockford base32 characters; text order is numeric order. */
export type Ulid = string;

/** 36 lower-case characters with dashes. */
export type Uuid = string;

/** Clock tick of a database that holds no row yet (stored as i64::MIN). */
export const NO_TICK: number = -Infinity;

/** Expiry of a row that never expires. */
export const NO_EXPIRY: number = Infinity;

/** Row flag: the row deletes its key. */
export const FLAG_TOMBSTONE = 0x01;
/** Row flag: an expiry time is stored. */
export const FLAG_EXPIRE = 0x02;
/** Row flag: a creation time is stored. */
export const FLAG_CREATE = 0x04;
/** Row flag: the value is a merge operand. */
export const FLAG_MERGE = 0x08;

/**
 * Row flag: the row deletes all older rows of the keys from its key (inclusive) to its value (exclusive). Only in WAL
 * tables and in the section of range tombstones, of files of {@linkcode RANGE_FORMAT}.
 */
export const FLAG_RANGE_DELETE = 0x10;
/** The flags that tell a row's kind; none of them: a put. */
export const KIND_FLAGS: number = FLAG_TOMBSTONE | FLAG_MERGE | FLAG_RANGE_DELETE;

/** Format version of files that hold range tombstones; SlateDB knows none so large, and refuses it. */
export const RANGE_FORMAT = 0x8001;

/** Block and row format of a table: those of SlateDB, or {@linkcode RANGE_FORMAT}. */
export type TableFormat = 1 | 2 | 0x8001;

/** Name of the feature that a manifest lists whose database may hold range tombstones. */
export const RANGE_DELETES = "range-deletes";

/** Deletes the rows of the keys in `[start, end)` that are older than `seq`. */
export interface RangeTombstone {
  /** First key; empty: from the first key on. */
  readonly start: Uint8Array;
  /** Key behind the last one; undefined: to the last key. */
  readonly end: Uint8Array | undefined;
  /** Rows below this number are deleted. */
  readonly seq: number;
  /** When it was written, ms since 1970. */
  readonly createTs: number;
}

/** Where a table keeps its range tombstones. */
export interface RangeSection {
  /** First byte of the section. */
  readonly offset: number;
  /** Its length with the checksum. */
  readonly length: number;
  /** Number of tombstones in it, at least 1. */
  readonly count: number;
  /** Key behind the last that is covered; undefined: up to the last key. */
  readonly end: Uint8Array | undefined;
}

/** Compression codes of the format. */
export type CompressionCode = 0 | 1 | 2 | 3 | 4;

/** Names of {@linkcode CompressionCode} in order of the code. */
export const COMPRESSION_NAMES: readonly ["none", "snappy", "zlib", "lz4", "zstd"] = [
  "none",
  "snappy",
  "zlib",
  "lz4",
  "zstd",
];

/** Name of a block codec, as in the options. */
export type CompressionName = "none" | "snappy" | "zlib" | "lz4" | "zstd";

/** What a table says about itself; also kept in every manifest entry that names the table. Offsets in bytes. */
export interface SstInfo {
  /**
   * First user key or start of a range tombstone (compacted), or first sequence number as 8 bytes (WAL). Absent in an
   * empty table.
   */
  readonly firstEntry: Uint8Array | undefined;
  /** Last user key of a row; absent in WAL tables, in older files, and where there are range tombstones only. */
  readonly lastEntry: Uint8Array | undefined;
  /** First byte of the index. */
  readonly indexOffset: number;
  /** Length of a section includes its 4 checksum bytes. */
  readonly indexLen: number;
  /** First byte of the filter. */
  readonly filterOffset: number;
  /** 0 when the table has no filter. */
  readonly filterLen: number;
  /** Codec of its blocks. */
  readonly compression: CompressionCode;
  /** 0 compacted, 1 WAL. */
  readonly sstType: 0 | 1;
  /** 0 together with `statsLen` when the table has no stats. */
  readonly statsOffset: number;
  /** Length of the stats. */
  readonly statsLen: number;
  /** 0 legacy (one bloom filter), 1 composite. */
  readonly filterFormat: 0 | 1;
  /** Range tombstones; absent where there are none. */
  readonly rangeDeletes?: RangeSection;
}

/** One end of a key range; `undefined` key means unbounded. */
export interface Bound {
  /** The key it ends at. */
  readonly key: Uint8Array | undefined;
  /** Whether that key belongs to the range. */
  readonly inclusive: boolean;
}

/** A range of user keys with any bounds. */
export interface BoundRange {
  /** Where it begins. */
  readonly start: Bound;
  /** Where it ends. */
  readonly end: Bound;
}

/** A reference to a table from L0 or a sorted run. */
export interface SstView {
  /** Equal to `sstId` in version 1 manifests. */
  readonly viewId: Ulid;
  /** The table itself; several references may share it. */
  readonly sstId: Ulid;
  /** What the table says about itself. */
  readonly info: SstInfo;
  /** Only rows inside exist for this reference. */
  readonly visibleRange: BoundRange | undefined;
  /** Block and row format of the table. */
  readonly formatVersion: TableFormat;
}

/** Tables that do not overlap, in ascending key order; versions of one key may continue in the next table. */
export interface SortedRun {
  /** Number of the run: larger ones hold newer data. */
  readonly id: number;
  /** Its tables. */
  readonly ssts: ReadonlyArray<SstView>;
}

/** A pinned manifest version. */
export interface CheckpointRecord {
  /** Its own id. */
  readonly id: Uuid;
  /** Number of the pinned version. */
  readonly manifestId: number;
  /** Unix seconds; 0 = never. */
  readonly expireTimeSeconds: number;
  /** Unix seconds. */
  readonly createTimeSeconds: number;
  /** Its name, if it has one. */
  readonly name: string | undefined;
  /** Epoch of a writer checkpoint, never written by 0.12.1 but carried over. */
  readonly writerEpoch: number | undefined;
}

/** Another database whose tables this one refers to (clones). */
export interface ExternalDb {
  /** Its root in the same store. */
  readonly path: string;
  /** Checkpoint there that the clone was made from. */
  readonly sourceCheckpointId: Uuid;
  /** Checkpoint there that keeps the tables for the clone. */
  readonly finalCheckpointId: Uuid | undefined;
  /** Those of its tables that are still referred to. */
  readonly sstIds: ReadonlyArray<Ulid>;
}

/** The durable root of truth, one numbered version of it. The number is the file's name, not part of the value. */
export interface Manifest {
  /** False while a clone is being made or deleted. */
  readonly initialized: boolean;
  /** Epoch of the newest writer: older ones are fenced. */
  readonly writerEpoch: number;
  /** The same of compactors. */
  readonly compactorEpoch: number;
  /** WAL replay starts at this id + 1. */
  readonly replayAfterWalId: number;
  /** Highest WAL id known when this manifest was written. */
  readonly walIdLastSeen: number;
  /** View and table id of the newest L0 that went into the last L0 compaction. In version 1 only the table id is stored. */
  readonly lastCompactedL0: Ulid | undefined;
  /** Newest first. */
  readonly l0: ReadonlyArray<SstView>;
  /** Descending run id: newest data first. */
  readonly compacted: ReadonlyArray<SortedRun>;
  /** Largest creation time in L0 and below, ms; {@linkcode NO_TICK} when there is none. */
  readonly lastL0ClockTick: number;
  /** Versions that are kept, oldest first. */
  readonly checkpoints: ReadonlyArray<CheckpointRecord>;
  /** Largest sequence number in L0 and below. */
  readonly lastL0Seq: number;
  /** Present ("" in practice) when the WAL lives in a separate store. */
  readonly walObjectStoreUri: string | undefined;
  /** Oldest sequence number that an open snapshot may need. */
  readonly recentSnapshotMinSeq: number;
  /** Encoded sequence tracker; absent in hand-made files. */
  readonly sequenceTracker: Uint8Array | undefined;
  /** Databases whose tables are referred to. */
  readonly externalDbs: ReadonlyArray<ExternalDb>;
  /** What a reader must know to read the database right; present and not empty only under {@linkcode RANGE_FORMAT}. */
  readonly features?: ReadonlyArray<string>;
}

/** State of a compaction. */
export type CompactionStatus = "submitted" | "running" | "completed" | "failed";

/** One entry of the compactions object. */
export interface CompactionRecord {
  readonly id: Ulid;
  /** Source L0 views, newest first. */
  readonly l0ViewIds: ReadonlyArray<Ulid>;
  /** Source runs. */
  readonly sortedRuns: ReadonlyArray<number>;
  readonly status: CompactionStatus;
  readonly outputSsts: ReadonlyArray<SstView>;
}

/** The compactions object. */
export interface Compactions {
  readonly compactorEpoch: number;
  /** Ascending id. */
  readonly recentCompactions: ReadonlyArray<CompactionRecord>;
}
