/**
 * Phyllite: an ordered key-value store inside your process whose data lives in object storage.
 *
 * An LSM tree in plain TypeScript, on Deno, Bun and Node, that reads and writes the files of SlateDB 0.12.1: either
 * engine opens the other's database, unless it holds native range deletes.
 *
 * ```ts
 * import { open } from "@phyllite/db";
 *
 * await using db = await open("memory:");
 * await db.put("fruit/apple", "red"); // resolves when the write would survive a crash
 * await db.put("fruit/banana", "yellow");
 * const apple = await db.get("fruit/apple");
 * if (new TextDecoder().decode(apple) !== "red") throw new Error("lost");
 * for await (const { key } of db.scan({ prefix: "fruit/" })) console.log(new TextDecoder().decode(key));
 * ```
 *
 * Writers are exclusive: opening a database fences the writer before. The same operations as effects are methods of the
 * service `Db` (`Db.open`, `Db.layer`).
 *
 * @module
 */
export { open } from "./src/db/promise_open.ts";
export { openReader } from "./src/db/promise_reader.ts";
export type { ReaderOptions } from "./src/db/reader_options.ts";
export { DbReader } from "./src/db/effect_reader.ts";
export type { DbReaderKey, DbReaderService, EffectReader, EffectReaderOptions } from "./src/db/effect_reader.ts";
export {
  createCheckpoint,
  deleteCheckpoint,
  listCheckpoints,
  refreshCheckpoint,
  seqAtTime,
  timeOfSeq,
} from "./src/db/admin_calls.ts";
export type { AdminOptions } from "./src/db/admin.ts";
export { collectGarbage } from "./src/db/collect.ts";
export type { CollectOptions, CollectReport } from "./src/db/collect.ts";
export type { GarbageCollectorOptions, GcAgeOptions } from "./src/db/gc_options.ts";
export { clone, deleteClone } from "./src/db/clone_calls.ts";
export type { CloneOptions, CloneReport, DeletedClone } from "./src/db/clone_calls.ts";
export { NOT_CACHED } from "./src/db/api.ts";
export type * from "./src/db/api.ts";
export type * from "./src/db/admin_api.ts";
export type * from "./src/db/transaction_api.ts";
export type * from "./src/db/cursor_api.ts";
export type { CompressionName, OpenOptions } from "./src/db/options.ts";
export type { DiskCacheSettings, Preload } from "./src/db/table_source.ts";
export type { Location } from "./src/db/location.ts";
export { compactOnce, openCompactor } from "./src/db/standalone_compactor.ts";
export type {
  CompactReport,
  StandaloneCompactor,
  StandaloneCompactorOptions,
  StandaloneStatus,
} from "./src/db/standalone_compactor.ts";
export type { CompactorOptions } from "./src/db/compactor_options.ts";
export type { CompactionLimits, CompactionScheduler, CompactionSpec } from "./src/lsm/compaction_job.ts";
export { leveled } from "./src/lsm/leveled.ts";
export type { LeveledOptions } from "./src/lsm/leveled.ts";
export { sizeTiered } from "./src/lsm/size_tiered.ts";
export type { SizeTieredOptions } from "./src/lsm/size_tiered.ts";
export type {
  Bound,
  BoundRange,
  CheckpointRecord,
  CompressionCode,
  ExternalDb,
  Manifest,
  RangeSection,
  SortedRun,
  SstInfo,
  SstView,
  TableFormat,
  Ulid,
  Uuid,
} from "./src/format/types.ts";
export { Db } from "./src/db/effect.ts";
export type { DbKey, DbService, EffectDb, EffectOpenOptions, EffectSnapshot } from "./src/db/effect.ts";
export type { EffectReadOptions, EffectReads } from "./src/db/effect_reads.ts";
export type { EffectCursor } from "./src/db/effect_cursor.ts";
export type { EffectTransaction, EffectTransactions } from "./src/db/effect_transaction.ts";
export { changes, changesStream } from "./src/db/changes.ts";
export type { EffectChangesOptions } from "./src/db/changes.ts";
export { WriteBatch } from "./src/db/write_batch.ts";
export {
  Closed,
  DataError,
  Internal,
  InvalidArgument,
  StoreError,
  TransactionConflict,
  Unavailable,
} from "./src/errors.ts";
export type {
  CloseReason,
  DataErrorReason,
  DbError,
  StoreErrorReason,
  StoreOp,
  TaggedErrorBase,
} from "./src/errors.ts";
export { DELETE_MANY_MAX, deleteAll, ObjectStore } from "./src/store/object_store.ts";
export type {
  ByteRange,
  ListPage,
  ObjectMeta,
  ObjectStoreShape,
  PutIdentity,
  ReadHint,
  StoreProvider,
  Upload,
} from "./src/store/object_store.ts";
export { fileStore, fileStoreLayer } from "./src/store/file_store.ts";
export type { FileStoreOptions } from "./src/store/file_store.ts";
export { diskCache, diskCacheLayer } from "./src/store/disk_cache.ts";
export type { DiskCacheFigures, DiskCacheOptions, DiskCacheStore } from "./src/store/disk_cache.ts";
export { metered, meteredLayer } from "./src/store/metered_store.ts";
export type {
  CountsByKind,
  MeteredStore,
  MeterOptions,
  MeterReport,
  RequestKind,
  StoreMeter,
} from "./src/store/metered_store.ts";
export { RetryDeadline, retrying, retryingLayer } from "./src/store/retrying_store.ts";
export type { RetryOptions } from "./src/store/retrying_store.ts";
export { RequestGate } from "./src/store/request_gate.ts";
export { RetryBudget } from "./src/store/retry_budget.ts";
export type { Urgency } from "./src/store/retry_budget.ts";
export { StoreHealth } from "./src/store/store_health.ts";
export type { DegradedReport, HealthOptions, SlowReport } from "./src/store/store_health.ts";
export { costReport } from "./src/db/cost.ts";
export type { Summand } from "./src/db/cost.ts";
export type {
  CostReport,
  Counted,
  OpenCostReport,
  PerMillion,
  PricedUsage,
  PriceSheet,
  SheetsByStore,
  StoreUsage,
  Usage,
} from "./src/db/cost_api.ts";
export { planCost } from "./src/db/cost_plan.ts";
export type {
  CostPlan,
  PlanOptions,
  PlanPart,
  PlanReader,
  PlanSettings,
  PlanWorkload,
} from "./src/db/cost_plan_api.ts";
export { dollarsOf, PRICE_SHEETS, priced, R2, S3_EXPRESS, S3_STANDARD, storageDollars } from "./src/db/price_sheets.ts";
export type { RequestCounts } from "./src/db/price_sheets.ts";
export { Ids } from "./src/env/ids.ts";
export type { IdsShape } from "./src/env/ids.ts";
