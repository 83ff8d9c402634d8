/**
 * The Effect face: a service with the names of the Promise face, whose methods are effects and streams.
 *
 * The clock is Effect's own, so that `TestClock` works; the object store is the `ObjectStore` service. A read that
 * memory can answer is one `Effect.suspend` around the synchronous core.
 *
 * @module
 */
import { Context, Effect, Layer, Queue, type Scope, Stream } from "effect";
import type { DbError } from "../errors.ts";
import { ObjectStore } from "../store/object_store.ts";
import type {
  Checkpoint,
  CheckpointDeletion,
  CheckpointFilter,
  CheckpointLifetime,
  CheckpointOptions,
  GcReport,
  Rounding,
} from "./admin_api.ts";
import type {
  Bytes,
  Db as PromiseDb,
  DbStatus,
  KeyRange,
  LsmShape,
  MergeOptions,
  MetricValue,
  OpenCostReport,
  PutOptions,
  SizeEstimate,
  WriteBatchShape,
  WriteOptions,
  WriteResult,
} from "./api.ts";
import { Database } from "./database.ts";
import { type EffectReads, effectReads } from "./effect_reads.ts";
import { type EffectTransactions, effectTransactions } from "./effect_transaction.ts";
import { asDbError } from "./failures.ts";
import type { Accepted } from "./write_path.ts";
import { parseRoot } from "../format/paths.ts";
import { openEngine } from "./open.ts";
import { type OpenOptions, resolveOptions } from "./options.ts";
import { surfaced } from "./reads.ts";
import { effectOf } from "./write_result.ts";

/** A snapshot of the Effect face; released when its scope ends. */
export interface EffectSnapshot extends EffectReads {
  /** Sequence number of the newest write that the snapshot sees. */
  readonly seq: number;
}

/** An open database as effects. */
export interface EffectDb extends EffectReads, EffectTransactions {
  /** Sets a key; ends when the write would survive a crash, or at once with `durable: false`. */
  readonly put: (key: Bytes, value: Bytes, options?: PutOptions) => Effect.Effect<WriteResult, DbError>;
  /** Deletes a key. */
  readonly delete: (key: Bytes, options?: WriteOptions) => Effect.Effect<WriteResult, DbError>;
  /** Adds an operand for the merge operator. */
  readonly merge: (key: Bytes, operand: Bytes, options?: MergeOptions) => Effect.Effect<WriteResult, DbError>;
  /** Deletes every key of a range, at the cost of one write. At least one bound has to be given. */
  readonly deleteRange: (range: KeyRange, options?: WriteOptions) => Effect.Effect<WriteResult, DbError>;
  /** Applies a batch atomically under one sequence number. */
  readonly write: (batch: WriteBatchShape, options?: WriteOptions) => Effect.Effect<WriteResult, DbError>;
  /** A read view of this moment, released with the scope. */
  readonly snapshot: Effect.Effect<EffectSnapshot, DbError, Scope.Scope>;
  /** Ends when everything written before is durable ("wal") or in tables ("memtable"). */
  readonly flush: (options?: { readonly kind?: "wal" | "memtable" }) => Effect.Effect<void, DbError>;
  /** Flushes, then compacts everything into one run, or what overlaps the range. */
  readonly compact: (range?: KeyRange) => Effect.Effect<void, DbError>;
  /** Deletes what nothing reaches any more, now; `dryRun` only tells. */
  readonly collectGarbage: (options?: { readonly dryRun?: boolean }) => Effect.Effect<GcReport, DbError>;
  /** Pins the state of this moment: all that was accepted, or what is stored. */
  readonly checkpoint: (options?: CheckpointOptions) => Effect.Effect<Checkpoint, DbError>;
  /** The checkpoints, oldest first. */
  readonly checkpoints: (filter?: CheckpointFilter) => Effect.Effect<ReadonlyArray<Checkpoint>, DbError>;
  /** Moves the end of a checkpoint. */
  readonly refreshCheckpoint: (id: string, options: CheckpointLifetime) => Effect.Effect<Checkpoint, DbError>;
  /** Lets go of what a checkpoint pins. */
  readonly deleteCheckpoint: (id: string, options?: CheckpointDeletion) => Effect.Effect<void, DbError>;
  /** When the sampled number nearest to `seq` on one side was written, ms since 1970. */
  readonly timeOfSeq: (seq: number, round: Rounding) => Effect.Effect<number | undefined, DbError>;
  /** The sampled sequence number nearest to a time (ms since 1970) on one side. */
  readonly seqAtTime: (millis: number, round: Rounding) => Effect.Effect<number | undefined, DbError>;
  /** How the database is doing. */
  readonly status: Effect.Effect<DbStatus>;
  /** The status after each change, the newest 16 at most for a slow reader. Ends with its scope. */
  readonly onStatus: Stream.Stream<DbStatus>;
  /** The LSM tree's shape. */
  readonly tables: Effect.Effect<LsmShape, DbError>;
  /** About how much a range holds, told without reading data. */
  readonly estimate: (range?: KeyRange) => Effect.Effect<SizeEstimate, DbError>;
  /** Requests so far and what they would cost. */
  readonly cost: Effect.Effect<OpenCostReport>;
  /** Counts and figures under SlateDB's names; the same as the metrics in the fiber's metric registry. */
  readonly metrics: Effect.Effect<readonly MetricValue[]>;
  /** Makes everything accepted durable and closes; a second call fails with `Closed`. */
  readonly close: Effect.Effect<void, DbError>;
}

/** Settings of the Effect face: those of `open`, and where in the store the database lives. Clocks are services here. */
export interface EffectOpenOptions extends Omit<OpenOptions, "clock"> {
  /** Root of the database inside the `ObjectStore`; "" (default) is the store's own root. */
  readonly path?: string;
}

/** Identifier of the database service. */
export interface DbService {
  /** Brand; has no value. */
  readonly _: unique symbol;
}

/** The service key with the two ways to get one. */
export interface DbKey extends Context.Service<DbService, EffectDb> {
  /** Opens a database in the current scope, which closes it. */
  readonly open: (options?: EffectOpenOptions) => Effect.Effect<EffectDb, DbError, ObjectStore | Scope.Scope>;
  /** The database as a layer over an object store. */
  readonly layer: (options?: EffectOpenOptions) => Layer.Layer<DbService, DbError, ObjectStore>;
}

const key: Context.Service<DbService, EffectDb> = Context.Service<DbService, EffectDb>("phyllite/db/Db");

function openScoped(options: EffectOpenOptions = {}): Effect.Effect<EffectDb, DbError, ObjectStore | Scope.Scope> {
  const acquire = surfaced(Effect.gen(function* () {
    const { path = "", ...settings } = options;
    const store = yield* ObjectStore;
    const database = yield* openEngine({ store, root: parseRoot(path) }, resolveOptions(settings));
    return new Database(database);
  }));
  const release = (database: Database) =>
    Effect.suspend(() => database.engine.isClosed ? Effect.void : Effect.orDie(database.engine.close));
  return Effect.map(Effect.acquireRelease(acquire, release, { interruptible: true }), effectFace);
}

/** As a type: an open database of the Promise face. As a value: the service of the Effect face. */
export type Db = PromiseDb;

/** The database service: `yield* Db` where a layer provides it, `Db.open` and `Db.layer` to make one. */
export const Db: DbKey = Object.assign(key, {
  open: openScoped,
  layer: (options: EffectOpenOptions = {}): Layer.Layer<DbService, DbError, ObjectStore> =>
    Layer.effect(key, openScoped(options)),
}) as DbKey;

/** The Effect face of an open database. */
export function effectFace(database: Database): EffectDb {
  const { engine, checkpoints } = database;
  const write = (accept: () => Accepted, options: WriteOptions | undefined): Effect.Effect<WriteResult, DbError> =>
    Effect.suspend(() => {
      try {
        return effectOf(accept(), options?.durable !== false);
      } catch (error) {
        return Effect.fail(asDbError(error));
      }
    });
  return {
    ...effectReads(database.reader),
    ...effectTransactions(database),
    put: (of, value, options) => write(() => engine.writes.put(of, value, options), options),
    delete: (of, options) => write(() => engine.writes.delete(of, options), options),
    merge: (of, operand, options) => write(() => engine.writes.merge(of, operand, options), options),
    deleteRange: (range, options) => write(() => engine.writes.deleteRange(range, options), options),
    write: (batch, options) => write(() => engine.writes.write(batch, options), options),
    snapshot: Effect.map(
      Effect.acquireRelease(
        surfaced(Effect.sync(() => database.snapshot())),
        (view) => Effect.sync(() => view.release()),
      ),
      (view) => ({ ...effectReads(view.reader), seq: view.seq }),
    ),
    flush: (options) => engine.flush(options?.kind),
    compact: (range) => engine.compact(range),
    collectGarbage: (options) => engine.collectGarbage(options),
    checkpoint: (options) => checkpoints.make(options),
    checkpoints: (filter) => checkpoints.list(filter),
    refreshCheckpoint: (id, options) => checkpoints.refresh(id, options),
    deleteCheckpoint: (id, options) => checkpoints.remove(id, options),
    timeOfSeq: (seq, round) => checkpoints.timeOfSeq(seq, round),
    seqAtTime: (millis, round) => checkpoints.seqAtTime(millis, round),
    status: Effect.sync(() => engine.status.current),
    onStatus: Stream.callback<DbStatus>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => engine.status.listen((status) => void Queue.offerUnsafe(queue, status))),
          (stop) => Effect.sync(stop),
        ),
      { bufferSize: 16, strategy: "sliding" },
    ),
    tables: database.tree.tables,
    estimate: (range) => database.tree.sizes.estimate(range),
    cost: Effect.sync(() => database.cost()),
    metrics: Effect.sync(() => database.metrics()),
    close: engine.close,
  };
}
