/**
 * Takes the tables of a compaction to the store while the next rows are encoded.
 *
 * A table goes up with one put when it is finished, or in parts while it grows, when it is or will be larger than one
 * put may be. Memory is bounded: finished tables that wait for their put have at most the size of the largest put
 * together, and of a table in parts one batch of parts is under way while the next one gathers.
 *
 * Transient faults are the store decorator's business; an upload in parts that is lost all the same fails the job, and
 * the compactor begins the job anew. An upload in parts that does not complete is given up when the scope ends, so that
 * nothing of it stays; a table that was put before a job failed is an orphan, which garbage collection deletes.
 *
 * @module
 */
import { Effect, Exit, Fiber, Scope, Semaphore } from "effect";
import type { StoreError } from "../src/errors.ts";
import type { BuiltSst } from "../src/format/sst_builder.ts";
import type { CompactionWriter } from "../src/lsm/compaction_writer.ts";
import type { ObjectStoreShape, Upload } from "../src/store/object_store.ts";
import { putTable, writeChunks } from "../src/store/put_table.ts";

/** Bytes of chunks that go to an upload at once. */
const BATCH_BYTES = 8 * 1024 * 1024;
/** Puts under way at once. */
const PUTS_MAX = 8;

/** The uploads of one job. */
export class TableUploads {
  /** What an upload failed with; no more tables need to be made then. */
  failure: StoreError | undefined = undefined;
  readonly store: ObjectStoreShape;
  readonly scope: Scope.Scope;
  readonly singlePutMaxBytes: number;
  /** Those under way, and those that did not end well: a long job has far more parts than are under way. */
  readonly #fibers: Set<Fiber.Fiber<void, StoreError>> = new Set();
  readonly #places: Semaphore.Semaphore = Semaphore.makeUnsafe(PUTS_MAX);

  /** @param scope ends with the job, and ends whatever is still under way then */
  constructor(store: ObjectStoreShape, scope: Scope.Scope, singlePutMaxBytes: number) {
    this.store = store;
    this.scope = scope;
    this.singlePutMaxBytes = singlePutMaxBytes;
  }

  /**
   * Begins the table `path`. Nothing is asked of the store yet.
   *
   * @param isLarge whether it is expected to be too large for one put
   */
  begin(path: string, isLarge: boolean): TableUpload {
    return new TableUpload(this, path, isLarge);
  }

  /** Puts a finished table, as soon as there is a place for it; answers when it is under way. */
  put(path: string, table: BuiltSst): Effect.Effect<void> {
    const share = Math.ceil((PUTS_MAX * table.sizeBytes) / this.singlePutMaxBytes);
    const places = Math.min(PUTS_MAX, Math.max(1, share));
    const put = putTable(this.store, path, table, this.singlePutMaxBytes);
    return Effect.andThen(
      this.#places.take(places),
      Effect.asVoid(this.fork(Effect.ensuring(put, this.#places.release(places)))),
    );
  }

  /** Runs a part of an upload while the job goes on. */
  fork(work: Effect.Effect<void, StoreError>): Effect.Effect<Fiber.Fiber<void, StoreError>> {
    const watched = Effect.tapError(work, (error) => Effect.sync(() => void (this.failure ??= error)));
    return Effect.map(Effect.forkIn(watched, this.scope), (fiber) => {
      this.#fibers.add(fiber);
      fiber.addObserver((exit) => void (Exit.isSuccess(exit) && this.#fibers.delete(fiber)));
      return fiber;
    });
  }

  /** Waits until all tables are stored. */
  get settled(): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => Effect.forEach([...this.#fibers], (fiber) => Fiber.join(fiber), { discard: true }));
  }
}

/** One table on its way. */
export class TableUpload {
  readonly #uploads: TableUploads;
  readonly #path: string;
  /** From so many bytes on it goes up in parts. */
  readonly #partsFromBytes: number;
  #upload: Upload | undefined = undefined;
  #isCompleted = false;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #batch: Fiber.Fiber<void, StoreError> | undefined = undefined;

  constructor(uploads: TableUploads, path: string, isLarge: boolean) {
    this.#uploads = uploads;
    this.#path = path;
    this.#partsFromBytes = isLarge ? Math.min(BATCH_BYTES, uploads.singlePutMaxBytes) : uploads.singlePutMaxBytes;
  }

  /** Takes what the table has grown by, if it goes up in parts; waits when the store does not keep up. */
  grow(writer: CompactionWriter): Effect.Effect<void, StoreError> {
    if (this.#upload === undefined && writer.tableBytes <= this.#partsFromBytes) return Effect.void;
    this.#gather(writer.takeChunks());
    if (this.#waitingBytes < Math.min(BATCH_BYTES, this.#partsFromBytes)) return Effect.void;
    return this.#sendBatch();
  }

  /** Stores the rest of the finished table; answers when that is under way. */
  finish(table: BuiltSst): Effect.Effect<void, StoreError> {
    if (this.#upload === undefined) {
      const chunks = [...this.#waiting, ...table.chunks];
      return this.#uploads.put(this.#path, { ...table, chunks });
    }
    this.#gather(table.chunks);
    return Effect.andThen(
      this.#sendBatch(),
      Effect.suspend(() => Effect.asVoid(this.#uploads.fork(Effect.andThen(this.#written, this.#complete)))),
    );
  }

  get #complete(): Effect.Effect<void, StoreError> {
    return Effect.andThen(
      Effect.suspend(() => this.#upload!.complete),
      Effect.sync(() => void (this.#isCompleted = true)),
    );
  }

  /** When the batch under way is written. */
  get #written(): Effect.Effect<void, StoreError> {
    return this.#batch === undefined ? Effect.void : Fiber.join(this.#batch);
  }

  #gather(chunks: ReadonlyArray<Uint8Array>): void {
    for (const chunk of chunks) {
      this.#waiting.push(chunk);
      this.#waitingBytes += chunk.length;
    }
  }

  /** Waits for the batch under way and sends off the next one. */
  #sendBatch(): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function* () {
      const upload = this.#upload ??= yield* this.#start();
      yield* this.#written;
      const chunks = this.#waiting;
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#batch = yield* this.#uploads.fork(writeChunks(upload, chunks));
    });
  }

  #start(): Effect.Effect<Upload, StoreError> {
    const { store, scope } = this.#uploads;
    return Effect.uninterruptibleMask((restore) =>
      Effect.tap(
        restore(store.upload(this.#path)),
        (upload) => Scope.addFinalizer(scope, Effect.suspend(() => this.#isCompleted ? Effect.void : upload.abort)),
      )
    );
  }
}
