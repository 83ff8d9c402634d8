/**
 * Settings of an open database: their names, limits and defaults, checked before the first store request.
 *
 * Unknown names are refused with the path of the field, so that a typing error never becomes a silent default. Sizes
 * are bytes, times are milliseconds, with the unit last in the name.
 *
 * @module
 */
import { type Clock, Schema } from "effect";
import { InvalidArgument } from "../errors.ts";
import { compressionCode, isCodecAvailable } from "../format/compression.ts";
import { COMPRESSION_NAMES, type CompressionCode, type CompressionName } from "../format/types.ts";
import { type ObjectStoreShape, STORE_OPERATIONS } from "../store/object_store.ts";
import type { MergeOperator, TtlMode } from "./api.ts";
import {
  type CompactorOptions,
  CompactorSchema,
  resolveCompactor,
  type ResolvedCompactor,
} from "./compactor_options.ts";
import {
  type GarbageCollectorOptions,
  GarbageCollectorSchema,
  type ResolvedGc,
  resolveGcOptions,
} from "./gc_options.ts";
import {
  type DiskCacheSettings,
  type Preload,
  PRELOADS,
  type ResolvedDiskCache,
  resolveDiskCache,
} from "./table_source.ts";

export type { CompressionName } from "../format/types.ts";

/** Settings of `open`. Everything is optional; the defaults are those of SlateDB 0.12.1 unless said otherwise. */
export interface OpenOptions {
  /** Create the database when there is none. Default true. */
  readonly create?: boolean;
  /** Fail when there is one already. Default false. */
  readonly errorIfExists?: boolean;
  /**
   * Longest time that writes nobody waits for stay in memory only, ms, 0 or more; null = until a flush or close.
   * Default 100.
   */
  readonly flushIntervalMillis?: number | null;
  /**
   * Most WAL objects per second, 0.001..1000, so that what the log costs has a ceiling: a durable write, `flush()` and
   * writes nobody waits for may wait for up to the time between two of them; `close()` does not. An object holds what a
   * memtable does, so this is a ceiling on bytes too: about `l0SstSizeBytes` times the rate per second, above which
   * memory fills up and all writes wait (`status.warnings` says so then). Default null: none.
   */
  readonly maxWalPutsPerSecond?: number | null;
  /**
   * Size at which a memtable is frozen and becomes an L0 table, estimated encoded bytes, 1 B..512 MiB. Default 64 MiB.
   */
  readonly l0SstSizeBytes?: number;
  /** Memory for rows that are not in tables yet; writes wait above it. More than `l0SstSizeBytes`. Default 1 GiB. */
  readonly maxUnflushedBytes?: number;
  /**
   * Number of L0 tables at which flushing waits for the embedded compactor, and memory fills up; without one the status
   * warns above it. Not below the compactor's `minCompactionSources`. Default 8.
   */
  readonly l0MaxSsts?: number;
  /** Table uploads at once, 1..64. Default 4. */
  readonly l0FlushParallelism?: number;
  /**
   * Memory for what was committed while transactions are open, bytes, 1024 or more. Past it the oldest transactions
   * can no longer be checked and fail with `TransactionConflict` "history-lost". Default 16 MiB.
   */
  readonly conflictHistoryBytes?: number;
  /**
   * How a range delete is stored. "native" (default): as one row, whatever it covers; SlateDB refuses to open the
   * database from then on, until compaction has removed the last of them and a writer flushes a memtable, compacts or
   * closes after that. "expand": as one delete for every key found in the range, so that SlateDB can open the database
   * if it could before; writes called meanwhile wait.
   */
  readonly rangeDeletes?: "native" | "expand";
  /** Keys that one expanded range delete, or a batch or transaction with some, may delete, 1 or more. Default 100,000. */
  readonly rangeDeleteMaxKeys?: number;
  /** Time between looks for a newer manifest while work is under way, ms, 1 or more. Default 1000. */
  readonly manifestPollIntervalMillis?: number;
  /** The same while nothing is under way, for a writer whose reads must notice a successor. Default: never. */
  readonly idlePollMillis?: number;
  /** Tables with fewer rows get no bloom filter. Default 1000. */
  readonly minFilterKeys?: number;
  /** Size of the bloom filter, bits per row, 0..64. Default 10. */
  readonly filterBitsPerKey?: number;
  /** Block size: 1, 2, 4, 8, 16, 32 or 64 KiB. Default 4096. */
  readonly blockSizeBytes?: number;
  /** Block codec. Default "none". "zstd" needs a runtime that has it. */
  readonly compression?: CompressionName;
  /**
   * Memory for decoded blocks; 0 keeps none. Default 256 MiB. Indexes and filters have 128 MiB of their own besides, so
   * that blocks never displace them.
   */
  readonly blockCacheBytes?: number;
  /** Keeps what is read of tables in a folder of the local disk, also for the next process. Default: no such cache. */
  readonly diskCache?: DiskCacheSettings;
  /**
   * What is brought to this machine in the background after opening: nothing (default), or for L0 or all tables their
   * indexes and filters, and with a disk cache their blocks too, as far as there is room. Costs requests.
   */
  readonly preload?: Preload;
  /** Write-ahead log: on (default), off, or in a store of its own. */
  readonly wal?: boolean | { readonly store: ObjectStoreShape };
  /** Lifetime of rows written without one, ms. Default: none. */
  readonly defaultTtlMillis?: number | null;
  /** How merge operands are folded; "elsewhere" stores them for another process to fold. Default: merges are refused. */
  readonly mergeOperator?: MergeOperator | "elsewhere";
  /** Whether reads hide expired rows ("strict", default) or show them until a rewrite ("slatedb"). */
  readonly ttl?: TtlMode;
  /** How far the clock may lag behind the newest row before writes are refused, ms. Default 10,000. */
  readonly clockToleranceMillis?: number;
  /**
   * How long a store may leave us without an answer, ms: a read or a close as a whole, each request while opening.
   * Writes and flushes are retried for as long as the database is open. Default 30,000.
   */
  readonly requestTimeoutMillis?: number;
  /** Clock to use instead of the platform's: a `VirtualClock` or anything with its shape. */
  readonly clock?: Clock.Clock;
  /**
   * How this process compacts the database beside writing to it; false leaves that to another process (`compact()`
   * still works). Default: `{}`, an embedded compactor with its defaults.
   */
  readonly compactor?: false | CompactorOptions;
  /**
   * How this process deletes what nothing reaches any more; false leaves that to another process (`collectGarbage()`
   * still works). Default: `{}`, an embedded collector with its defaults.
   */
  readonly garbageCollector?: false | GarbageCollectorOptions;
}

/** Options with every default filled in. */
export interface ResolvedOptions {
  readonly create: boolean;
  readonly errorIfExists: boolean;
  readonly flushIntervalMillis: number;
  /** Infinity = none. */
  readonly maxWalPutsPerSecond: number;
  readonly l0SstSizeBytes: number;
  readonly maxUnflushedBytes: number;
  readonly l0MaxSsts: number;
  readonly l0FlushParallelism: number;
  readonly conflictHistoryBytes: number;
  readonly rangeDeletes: "native" | "expand";
  readonly rangeDeleteMaxKeys: number;
  /** Undefined: none. */
  readonly compactor: ResolvedCompactor | undefined;
  /** Undefined: none. */
  readonly garbageCollector: ResolvedGc | undefined;
  readonly manifestPollIntervalMillis: number;
  readonly idlePollMillis: number;
  readonly minFilterKeys: number;
  readonly filterBitsPerKey: number;
  readonly blockSizeBytes: number;
  readonly compression: CompressionCode;
  readonly blockCacheBytes: number;
  /** Undefined: none. */
  readonly diskCache: ResolvedDiskCache | undefined;
  readonly preload: Preload;
  readonly walEnabled: boolean;
  readonly walStore: ObjectStoreShape | undefined;
  /** Infinity = none. */
  readonly defaultTtlMillis: number;
  readonly mergeOperator: MergeOperator | "elsewhere" | undefined;
  readonly ttl: TtlMode;
  readonly clockToleranceMillis: number;
  readonly requestTimeoutMillis: number;
  readonly clock: Clock.Clock | undefined;
}

const BLOCK_SIZES = [1024, 2048, 4096, 8192, 16384, 32768, 65536];
const MIB = 1024 * 1024;
/** Largest memtable, and largest single row: its arena holds twice as much in the worst case. */
export const MEMTABLE_BYTES_MAX: number = 512 * MIB;
/** Largest batch, bytes. */
export const BATCH_BYTES_MAX: number = 256 * MIB;

const int = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER) =>
  Schema.optional(Schema.Int.check(Schema.isBetween({ minimum, maximum })));
const nullableInt = (minimum: number) =>
  Schema.optional(
    Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum, maximum: Number.MAX_SAFE_INTEGER }))),
  );
const rate = Schema.optional(
  Schema.NullOr(Schema.Finite.check(Schema.isBetween({ minimum: 0.001, maximum: 1000 }))),
);
const flag = Schema.optional(Schema.Boolean);

/** Something that has the named functions; what they do cannot be checked here. */
const shaped = <A extends object>(what: string, methods: ReadonlyArray<string>) =>
  Schema.declare((value: unknown): value is A =>
    typeof value === "object" && value !== null &&
    methods.every((name) => typeof (value as Record<string, unknown>)[name] === "function"), { expected: what });

const clockShape = shaped<Clock.Clock>("a clock", ["currentTimeMillisUnsafe", "monotonicTimeNanosUnsafe", "sleep"]);
const storeShape = shaped<ObjectStoreShape>("an object store", STORE_OPERATIONS);
const mergeOperator = Schema.declare((value: unknown): value is MergeOperator =>
  typeof value === "function" ||
  (typeof value === "object" && value !== null && typeof (value as { merge?: unknown }).merge === "function" &&
    ["undefined", "function"].includes(typeof (value as { mergeBatch?: unknown }).mergeBatch)), {
  expected: "a merge function or an object with merge",
});

const OpenSchema = Schema.Struct({
  create: flag,
  errorIfExists: flag,
  flushIntervalMillis: nullableInt(0),
  maxWalPutsPerSecond: rate,
  l0SstSizeBytes: int(1, MEMTABLE_BYTES_MAX),
  maxUnflushedBytes: int(2),
  l0MaxSsts: int(1),
  l0FlushParallelism: int(1, 64),
  conflictHistoryBytes: int(1024),
  rangeDeletes: Schema.optional(Schema.Literals(["native", "expand"])),
  rangeDeleteMaxKeys: int(1),
  manifestPollIntervalMillis: int(1),
  idlePollMillis: int(1),
  minFilterKeys: int(0),
  filterBitsPerKey: int(0, 64),
  blockSizeBytes: Schema.optional(Schema.Literals(BLOCK_SIZES)),
  compression: Schema.optional(Schema.Literals(COMPRESSION_NAMES)),
  blockCacheBytes: int(0),
  diskCache: Schema.optional(Schema.Unknown),
  preload: Schema.optional(Schema.Literals(PRELOADS)),
  wal: Schema.optional(Schema.Union([Schema.Boolean, Schema.Struct({ store: storeShape })])),
  defaultTtlMillis: nullableInt(0),
  mergeOperator: Schema.optional(Schema.Union([mergeOperator, Schema.Literal("elsewhere")])),
  ttl: Schema.optional(Schema.Literals(["strict", "slatedb"])),
  clockToleranceMillis: int(0),
  requestTimeoutMillis: int(1),
  clock: Schema.optional(clockShape),
  compactor: Schema.optional(Schema.Union([Schema.Literal(false), CompactorSchema])),
  garbageCollector: Schema.optional(Schema.Union([Schema.Literal(false), GarbageCollectorSchema])),
});

const decodeOpen = Schema.decodeUnknownSync(OpenSchema);

/** Checks options and fills in defaults. @throws InvalidArgument reason "options" with the path of the field. */
export function resolveOptions(options: OpenOptions = {}): ResolvedOptions {
  const given = decoded(options);
  const wal = given.wal ?? true;
  const compression = compressionCode(given.compression ?? "none");
  const resolved: ResolvedOptions = {
    create: given.create ?? true,
    errorIfExists: given.errorIfExists ?? false,
    flushIntervalMillis: given.flushIntervalMillis === null ? Infinity : given.flushIntervalMillis ?? 100,
    maxWalPutsPerSecond: given.maxWalPutsPerSecond ?? Infinity,
    l0SstSizeBytes: given.l0SstSizeBytes ?? 64 * MIB,
    maxUnflushedBytes: given.maxUnflushedBytes ?? Math.max(1024 * MIB, 4 * (given.l0SstSizeBytes ?? 0)),
    l0MaxSsts: given.l0MaxSsts ?? 8,
    l0FlushParallelism: given.l0FlushParallelism ?? 4,
    conflictHistoryBytes: given.conflictHistoryBytes ?? 16 * MIB,
    rangeDeletes: given.rangeDeletes ?? "native",
    rangeDeleteMaxKeys: given.rangeDeleteMaxKeys ?? 100_000,
    compactor: given.compactor === false ? undefined : resolveCompactor(given.compactor as CompactorOptions),
    garbageCollector: given.garbageCollector === false
      ? undefined
      : resolveGcOptions(given.garbageCollector as GarbageCollectorOptions),
    manifestPollIntervalMillis: given.manifestPollIntervalMillis ?? 1000,
    idlePollMillis: given.idlePollMillis ?? Infinity,
    minFilterKeys: given.minFilterKeys ?? 1000,
    filterBitsPerKey: given.filterBitsPerKey ?? 10,
    blockSizeBytes: given.blockSizeBytes ?? 4096,
    compression,
    blockCacheBytes: given.blockCacheBytes ?? 256 * MIB,
    diskCache: resolveDiskCache(given.diskCache, "Cannot open"),
    preload: given.preload ?? "none",
    walEnabled: wal !== false,
    walStore: typeof wal === "object" ? wal.store : undefined,
    defaultTtlMillis: given.defaultTtlMillis ?? Infinity,
    mergeOperator: given.mergeOperator,
    ttl: given.ttl ?? "strict",
    clockToleranceMillis: given.clockToleranceMillis ?? 10_000,
    requestTimeoutMillis: given.requestTimeoutMillis ?? 30_000,
    clock: given.clock,
  };
  if (resolved.maxUnflushedBytes <= resolved.l0SstSizeBytes) {
    throw invalidOption(
      "maxUnflushedBytes",
      "must be greater than l0SstSizeBytes, or no memtable could ever be flushed",
    );
  }
  if (resolved.compactor !== undefined && resolved.l0MaxSsts < resolved.compactor.scheduler.minL0Sources) {
    throw invalidOption(
      "l0MaxSsts",
      `must not be below the ${resolved.compactor.scheduler.minL0Sources} L0 tables from which the compactor begins, ` +
        "or flushing would stop for good",
    );
  }
  if (!isCodecAvailable(compression)) {
    throw invalidOption("compression", `this runtime has no ${given.compression}; choose another codec`);
  }
  return resolved;
}

/** The error of a refused option. */
function invalidOption(field: string, what: string): InvalidArgument {
  return new InvalidArgument({ reason: "options", message: `Cannot open: option ${field}: ${what}` });
}

/** Options that are objects of options. */
const SECTIONS = [["compactor", CompactorSchema], ["garbageCollector", GarbageCollectorSchema]] as const;

function refuseSection(field: (typeof SECTIONS)[number][0], known: readonly string[], options: OpenOptions): void {
  const section: unknown = options[field];
  if (section === undefined || section === false) return;
  if (typeof section !== "object" || section === null) {
    throw invalidOption(field, "give an object of settings, or false for none; leave it out for the default");
  }
  const unknown = Object.keys(section).filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  const names = unknown.map((name) => `${field}.${name}`).join(", ");
  throw new InvalidArgument({
    reason: "options",
    message: `Cannot open: options: unknown option${unknown.length > 1 ? "s" : ""} ${names}; known are ` +
      known.join(", "),
  });
}

function decoded(options: unknown): typeof OpenSchema.Type {
  const known = Object.keys(OpenSchema.fields);
  const given = typeof options === "object" && options !== null ? Object.keys(options) : [];
  const unknown = given.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new InvalidArgument({
      reason: "options",
      message: `Cannot open: options: unknown option${unknown.length > 1 ? "s" : ""} ${unknown.join(", ")}; ` +
        `known are ${known.join(", ")}`,
    });
  }
  for (const [field, { fields }] of SECTIONS) refuseSection(field, Object.keys(fields), (options ?? {}) as OpenOptions);
  try {
    return decodeOpen(options, { onExcessProperty: "error" });
  } catch (error) {
    const text = error instanceof Error ? error.message.replaceAll(/\s*\n\s*/g, " ") : String(error);
    throw new InvalidArgument({ reason: "options", message: `Cannot open: options: ${text}`, cause: error });
  }
}
