/**
 * Random control objects for round trips, with every optional field present and absent.
 *
 * @module
 */
import fc from "fast-check";
import {
  type Bound,
  type BoundRange,
  type CheckpointRecord,
  type CompactionRecord,
  type Compactions,
  type ExternalDb,
  type Manifest,
  NO_TICK,
  type SortedRun,
  type SstInfo,
  type SstView,
} from "../../src/format/types.ts";
import { ulidFromBytes, uuidFromBytes } from "../../src/format/ulid.ts";

const U64 = fc.oneof(fc.nat(1000), fc.maxSafeNat(), fc.constantFrom(0, 1, 2 ** 32, 2 ** 32 - 1, 2 ** 53 - 1));
const U32 = fc.oneof(fc.nat(10), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const KEY = fc.uint8Array({ maxLength: 40 });
const TEXT = fc.string({ unit: "grapheme", maxLength: 20 });
const SIXTEEN = fc.oneof(
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc.constantFrom(new Uint8Array(16), new Uint8Array(16).fill(255)),
);

/** A ULID. */
export const ULID: fc.Arbitrary<string> = SIXTEEN.map(ulidFromBytes);
/** A UUID. */
export const UUID: fc.Arbitrary<string> = SIXTEEN.map(uuidFromBytes);

/** Records of ordinary objects: fast-check's own may lack a prototype, which deepEqual sees. */
function plainRecord<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

function optional<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined });
}

/** An info table. */
export const INFO: fc.Arbitrary<SstInfo> = plainRecord({
  firstEntry: optional(KEY),
  lastEntry: optional(KEY),
  indexOffset: U64,
  indexLen: U64,
  filterOffset: U64,
  filterLen: U64,
  compression: fc.constantFrom(0 as const, 1 as const, 2 as const, 3 as const, 4 as const),
  sstType: fc.constantFrom(0 as const, 1 as const),
  statsOffset: U64,
  statsLen: U64,
  filterFormat: fc.constantFrom(0 as const, 1 as const),
});

const UNBOUNDED: fc.Arbitrary<Bound> = fc.constant({ key: undefined, inclusive: false });
const RANGE: fc.Arbitrary<BoundRange> = plainRecord({
  start: fc.oneof(UNBOUNDED, KEY.map((key): Bound => ({ key, inclusive: true }))),
  end: fc.oneof(UNBOUNDED, plainRecord({ key: KEY, inclusive: fc.boolean() })),
});

const VIEW: fc.Arbitrary<SstView> = fc.tuple(ULID, INFO, KEY, optional(RANGE), fc.constantFrom(1 as const, 2 as const))
  .map(([id, info, firstEntry, visibleRange, formatVersion]) => ({
    viewId: id,
    sstId: id,
    info: { ...info, firstEntry },
    visibleRange,
    formatVersion,
  }));

const RUNS: fc.Arbitrary<SortedRun[]> = fc.uniqueArray(U32, { maxLength: 4 }).chain((ids) =>
  fc.tuple(
    ...ids.sort((a, b) => b - a).map((id) =>
      plainRecord({ id: fc.constant(id), ssts: fc.array(VIEW, { maxLength: 3 }) })
    ),
  )
);

const CHECKPOINT: fc.Arbitrary<CheckpointRecord> = plainRecord({
  id: UUID,
  manifestId: U64,
  expireTimeSeconds: U32,
  createTimeSeconds: U32,
  name: optional(TEXT),
  writerEpoch: optional(U64),
});

const EXTERNAL: fc.Arbitrary<ExternalDb> = plainRecord({
  path: TEXT,
  sourceCheckpointId: UUID,
  finalCheckpointId: optional(UUID),
  sstIds: fc.array(ULID, { maxLength: 4 }),
});

/** A manifest as version 1 can carry it: view ids are the SSTs' ids. */
export const MANIFEST: fc.Arbitrary<Manifest> = plainRecord({
  initialized: fc.boolean(),
  writerEpoch: U64,
  compactorEpoch: U64,
  replayAfterWalId: U64,
  walIdLastSeen: U64,
  lastCompactedL0: optional(ULID),
  l0: fc.array(VIEW, { maxLength: 4 }),
  compacted: RUNS,
  lastL0ClockTick: fc.oneof(fc.maxSafeInteger(), fc.constantFrom(NO_TICK, 0, -1, -(2 ** 53 - 1))),
  checkpoints: fc.array(CHECKPOINT, { maxLength: 4 }),
  lastL0Seq: U64,
  walObjectStoreUri: optional(fc.oneof(fc.constant(""), TEXT)),
  recentSnapshotMinSeq: U64,
  sequenceTracker: optional(fc.uint8Array({ maxLength: 30 })),
  externalDbs: fc.array(EXTERNAL, { maxLength: 3 }),
});

const COMPACTION: fc.Arbitrary<CompactionRecord> = plainRecord({
  id: ULID,
  l0ViewIds: fc.array(ULID, { maxLength: 5 }),
  sortedRuns: fc.array(U32, { maxLength: 4 }),
  status: fc.constantFrom(
    "submitted" as const,
    "running" as const,
    "completed" as const,
    "failed" as const,
  ),
  outputSsts: fc.array(VIEW, { maxLength: 3 }),
});

/** A compactions object. */
export const COMPACTIONS: fc.Arbitrary<Compactions> = plainRecord({
  compactorEpoch: U64,
  recentCompactions: fc.array(COMPACTION, { maxLength: 4 }),
});
