/**
 * Settings of a reader: their names, limits and defaults, checked before the first store request.
 *
 * Unknown names are refused, so that a typing error never becomes a silent default.
 *
 * @module
 */
import { type Clock, Schema } from "effect";
import { InvalidArgument } from "../errors.ts";
import type { Uuid } from "../format/types.ts";
import { type ObjectStoreShape, STORE_OPERATIONS } from "../store/object_store.ts";
import type { MergeOperator, TtlMode } from "./api.ts";
import {
  type DiskCacheSettings,
  type Preload,
  PRELOADS,
  type ResolvedDiskCache,
  resolveDiskCache,
} from "./table_source.ts";

/** Settings of `openReader`. Everything is optional. */
export interface ReaderOptions {
  /**
   * "managed" (default): keeps what it reads from being collected by a checkpoint of its own, for which it writes
   * manifests. "follow": never writes; what is collected under it, it reads from the newer state.
   */
  readonly mode?: "managed" | "follow";
  /** Id of a checkpoint: the reader shows that state and stays at it. Not together with `mode`. */
  readonly checkpoint?: string;
  /** Time between looks for newer state, ms, 1 to 24 days. Default 10,000. */
  readonly manifestPollIntervalMillis?: number;
  /**
   * How long the reader's checkpoint outlives it, ms, at least 1000 and twice the poll interval, at most 365 days; it is
   * renewed when half of it has passed. Default 600,000, or twice the poll interval.
   */
  readonly checkpointLifetimeMillis?: number;
  /** Size at which rows of the log go to a further memtable, bytes, 1 B..512 MiB. Default 64 MiB. */
  readonly maxMemtableBytes?: number;
  /** Shows tables only: rows appear when they are flushed. Default false. */
  readonly skipWalReplay?: boolean;
  /** Whether reads hide expired rows ("strict", default) or show them until a rewrite ("slatedb"). */
  readonly ttl?: TtlMode;
  /** How merge operands are folded. Default: reads that meet one fail. */
  readonly mergeOperator?: MergeOperator;
  /** Memory for decoded blocks; 0 keeps none. Default 256 MiB. Indexes and filters have 128 MiB of their own. */
  readonly blockCacheBytes?: number;
  /** Keeps what is read of tables in a folder of the local disk, also for the next process. Default: no such cache. */
  readonly diskCache?: DiskCacheSettings;
  /**
   * What is brought to this machine in the background after opening: nothing (default), or for L0 or all tables their
   * indexes and filters, and with a disk cache their blocks too, as far as there is room. Costs requests.
   */
  readonly preload?: Preload;
  /** The store of the write-ahead log, for a database that keeps it apart. */
  readonly wal?: { readonly store: ObjectStoreShape };
  /** How long the store may leave us without an answer, ms: a read or a close as a whole, else each request. Default 30,000. */
  readonly requestTimeoutMillis?: number;
  /** Clock to use instead of the platform's: a `VirtualClock` or anything with its shape. */
  readonly clock?: Clock.Clock;
}

/** Options with every default filled in. */
export interface ResolvedReaderOptions {
  readonly mode: "managed" | "follow" | "pinned";
  /** Only of a pinned reader. */
  readonly checkpoint: Uuid | undefined;
  readonly manifestPollIntervalMillis: number;
  readonly checkpointLifetimeMillis: number;
  readonly maxMemtableBytes: number;
  readonly skipWalReplay: boolean;
  readonly ttl: TtlMode;
  readonly mergeOperator: MergeOperator | undefined;
  readonly blockCacheBytes: number;
  /** Undefined: none. */
  readonly diskCache: ResolvedDiskCache | undefined;
  readonly preload: Preload;
  readonly walStore: ObjectStoreShape | undefined;
  readonly requestTimeoutMillis: number;
  readonly clock: Clock.Clock | undefined;
}

const MIB = 1024 * 1024;
/** Shortest life of a reader's checkpoint, ms: ends are stored in whole seconds. */
const LIFETIME_MILLIS_MIN = 1000;
const DAY_MILLIS = 86_400_000;
/** Longest: ends have 32 bits of seconds, and nobody should be kept from collecting for longer. */
const LIFETIME_MILLIS_MAX = 365 * DAY_MILLIS;
/** Longest poll interval: timers of the platforms take 31 bits of milliseconds. */
const POLL_MILLIS_MAX = 24 * DAY_MILLIS;

const int = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER) =>
  Schema.optional(Schema.Int.check(Schema.isBetween({ minimum, maximum })));

/** Something that has the named functions; what they do cannot be checked here. */
const shaped = <A extends object>(what: string, methods: ReadonlyArray<string>) =>
  Schema.declare((value: unknown): value is A =>
    typeof value === "object" && value !== null &&
    methods.every((name) => typeof (value as Record<string, unknown>)[name] === "function"), { expected: what });

const mergeOperator = Schema.declare((value: unknown): value is MergeOperator => {
  if (typeof value === "function") return true;
  const { merge, mergeBatch } = (value ?? {}) as { merge?: unknown; mergeBatch?: unknown };
  return typeof merge === "function" && ["undefined", "function"].includes(typeof mergeBatch);
}, { expected: "a merge function or an object with merge" });

const ReaderSchema = Schema.Struct({
  mode: Schema.optional(Schema.Literals(["managed", "follow"])),
  checkpoint: Schema.optional(Schema.String),
  manifestPollIntervalMillis: int(1, POLL_MILLIS_MAX),
  checkpointLifetimeMillis: int(LIFETIME_MILLIS_MIN, LIFETIME_MILLIS_MAX),
  maxMemtableBytes: int(1, 512 * MIB),
  skipWalReplay: Schema.optional(Schema.Boolean),
  ttl: Schema.optional(Schema.Literals(["strict", "slatedb"])),
  mergeOperator: Schema.optional(mergeOperator),
  blockCacheBytes: int(0),
  diskCache: Schema.optional(Schema.Unknown),
  preload: Schema.optional(Schema.Literals(PRELOADS)),
  wal: Schema.optional(Schema.Struct({ store: shaped<ObjectStoreShape>("an object store", STORE_OPERATIONS) })),
  requestTimeoutMillis: int(1),
  clock: Schema.optional(
    shaped<Clock.Clock>("a clock", ["currentTimeMillisUnsafe", "monotonicTimeNanosUnsafe", "sleep"]),
  ),
});

const decodeReader = Schema.decodeUnknownSync(ReaderSchema);
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Checks options and fills in defaults. @throws InvalidArgument with the name of the field */
export function resolveReaderOptions(options: ReaderOptions = {}): ResolvedReaderOptions {
  const given = decoded(options);
  if (given.checkpoint !== undefined && given.mode !== undefined) {
    throw refused("options", "checkpoint: a reader of a checkpoint has no mode; give one of the two");
  }
  const checkpoint = given.checkpoint?.toLowerCase();
  if (checkpoint !== undefined && !UUID.test(checkpoint)) {
    throw refused("options", `checkpoint: "${given.checkpoint}" is not the id of a checkpoint, which is a UUID`);
  }
  const manifestPollIntervalMillis = given.manifestPollIntervalMillis ?? 10_000;
  const checkpointLifetimeMillis = given.checkpointLifetimeMillis ?? Math.max(600_000, 2 * manifestPollIntervalMillis);
  if (checkpointLifetimeMillis < 2 * manifestPollIntervalMillis) {
    throw refused(
      "checkpoint-lifetime-too-short",
      `checkpointLifetimeMillis: ${checkpointLifetimeMillis} is less than twice manifestPollIntervalMillis ` +
        `(${manifestPollIntervalMillis}), so the checkpoint could end before it is renewed`,
    );
  }
  return {
    mode: checkpoint === undefined ? given.mode ?? "managed" : "pinned",
    checkpoint,
    manifestPollIntervalMillis,
    checkpointLifetimeMillis,
    maxMemtableBytes: given.maxMemtableBytes ?? 64 * MIB,
    skipWalReplay: given.skipWalReplay ?? false,
    ttl: given.ttl ?? "strict",
    mergeOperator: given.mergeOperator,
    blockCacheBytes: given.blockCacheBytes ?? 256 * MIB,
    diskCache: resolveDiskCache(given.diskCache, "Cannot open the reader"),
    preload: given.preload ?? "none",
    walStore: given.wal?.store,
    requestTimeoutMillis: given.requestTimeoutMillis ?? 30_000,
    clock: given.clock,
  };
}

function refused(reason: string, what: string, cause?: unknown): InvalidArgument {
  return new InvalidArgument({ reason, message: `Cannot open the reader: option ${what}`, cause });
}

function decoded(options: unknown): typeof ReaderSchema.Type {
  const known = Object.keys(ReaderSchema.fields);
  const given = typeof options === "object" && options !== null ? Object.keys(options) : [];
  if ((options as { readonly mode?: unknown } | undefined)?.mode === "pinned") {
    throw refused("options", "mode: a reader is pinned by what it is pinned to: give checkpoint: id, and no mode");
  }
  const unknown = given.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new InvalidArgument({
      reason: "options",
      message: `Cannot open the reader: unknown option${unknown.length > 1 ? "s" : ""} ${unknown.join(", ")}; ` +
        `known are ${known.join(", ")}`,
    });
  }
  try {
    return decodeReader(options, { onExcessProperty: "error" });
  } catch (error) {
    const text = error instanceof Error ? error.message.replaceAll(/\s*\n\s*/g, " ") : String(error);
    throw new InvalidArgument({ reason: "options", message: `Cannot open the reader: options: ${text}`, cause: error });
  }
}
