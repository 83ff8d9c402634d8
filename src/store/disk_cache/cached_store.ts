/**
 * The store with a cache on the disk: how reads become parts, and where the parts come from.
 *
 * Disk first, then flights of others, then own requests; what was fetched is offered to the folder and the reader does
 * not wait for that. No answer shares memory with what is written.
 *
 * @module
 */
import { Clock, Effect, Option } from "effect";
import { monotonicMillis } from "../../env/monotonic_time.ts";
import { OneShot } from "../../env/one_shot.ts";
import { beginIo, realIo } from "../../env/real_io.ts";
import { StoreError, storeErrorWith } from "../../errors.ts";
import type { DiskCacheFigures, DiskCacheOptions, DiskCacheStore } from "../disk_cache.ts";
import { fileError, nodeFileSystem } from "../file/file_system.ts";
import type { ByteRange, ObjectStoreShape, ReadHint, Upload } from "../object_store.ts";
import { checkRange } from "../store_names.ts";
import { KnownObjects } from "./known_objects.ts";
import { momentNow } from "./moment.ts";
import { PartFetcher, rangeOf } from "./part_fetcher.ts";
import { PartFolder, type Seat } from "./part_folder.ts";
import { type CachedObject, isKept } from "./part_name.ts";
import { RangeRead } from "./range_read.ts";

const MIB = 1024 * 1024;
/** Parts of one range; a longer one passes. */
const PARTS_PER_READ_MAX = 1024;
/** Files read at once for one range. */
const FILES_AT_ONCE = 8;
/** Requests at once for one range. */
const REQUESTS_AT_ONCE = 8;
/** A disk that does not answer for so long is left alone for {@linkcode REST_MILLIS}, ms. */
const DISK_TIMEOUT_MILLIS = 2_000;
const REST_MILLIS = 60_000;
/** How long a folder may take to be made, ms. */
const READY_MILLIS = 5_000;
/** How long warming waits until the disk has written what others have read, ms. */
const QUIET_MILLIS = 60_000;
/** How long a close waits for what is to be written, ms. */
const CLOSE_MILLIS = 1_000;
/** Bytes of a put that are copied between two turns of others. */
const TURN_BYTES: number = 4 * MIB;
/** Bytes fetched with one request when warming. */
const WARM_BYTES: number = 8 * MIB;

/** See {@linkcode diskCache}. */
export class CachedStore implements DiskCacheStore {
  readonly #inner: ObjectStoreShape;
  readonly #folder: PartFolder;
  readonly #seat: Seat;
  readonly #keeps: (path: string) => boolean;
  readonly #partBytes: number;
  readonly #cachePuts: boolean;
  readonly #fetcher: PartFetcher;
  readonly #objects: KnownObjects;
  readonly provider: ObjectStoreShape["provider"];
  readonly deleteMany: ObjectStoreShape["deleteMany"];
  readonly get: ObjectStoreShape["get"];
  readonly head: ObjectStoreShape["head"];
  readonly list: ObjectStoreShape["list"];
  #accesses = 0;
  #hits = 0;
  #restsUntilMillis = -Infinity;
  /** Whether the disk did not answer the last time it was asked. */
  #isHung = false;
  #isClosed = false;
  readonly #ended = new OneShot<never>();

  /** @param keeps which objects never change; tables, except in tests */
  constructor(
    inner: ObjectStoreShape,
    options: DiskCacheOptions,
    partBytes: number,
    maxBytes: number,
    keeps: (path: string) => boolean = isKept,
  ) {
    this.#keeps = keeps;
    this.#inner = inner;
    this.#objects = new KnownObjects(options.identity, partBytes);
    this.#partBytes = partBytes;
    this.#cachePuts = options.cachePuts ?? false;
    const { scanIntervalMillis = 3_600_000 } = options;
    this.#seat = { maxBytes, scanIntervalMillis, evictedKeys: 0, evictedBytes: 0, skippedParts: 0 };
    this.#folder = PartFolder.shared(options.fileSystem ?? nodeFileSystem, options.folder);
    this.#folder.join(this.#seat);
    this.#fetcher = new PartFetcher({
      inner,
      partBytes,
      waiting: (object, part, from, to) => this.#folder.waiting(object, part, from, to),
      offer: (object, firstPart, bytes) => this.#offer(object, firstPart, bytes),
    });
    const { deleteMany } = inner;
    this.provider = inner.provider;
    this.get = (path) => inner.get(path);
    this.head = (path) => inner.head(path);
    this.list = (prefix, startAfter) => inner.list(prefix, startAfter);
    this.deleteMany = deleteMany &&
      ((paths) =>
        Effect.andThen(deleteMany(paths), Effect.forEach(paths, (path) => this.#changed(path), { discard: true })));
  }

  readonly ready: Effect.Effect<void, StoreError> = Effect.suspend(() =>
    Effect.flatMap(momentNow, (moment) => {
      const { root } = this.#folder.tree;
      const prepared = realIo(() => this.#folder.prepare(moment), (cause) => fileError(root, "put", "", cause));
      const orElse = () => {
        const detail = `folder ${root} does not answer`;
        const late = { op: "put", path: "", reason: "timeout", retryable: true, outcome: "unknown", detail } as const;
        return Effect.fail(new StoreError(late));
      };
      const inTime = Effect.timeoutOrElse(prepared, { duration: READY_MILLIS, orElse });
      return Effect.andThen(inTime, this.#folder.watched);
    })
  );

  readonly settled: Effect.Effect<void> = Effect.suspend(() => realIo(() => this.#folder.settled(), impossible));

  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#isClosed) return this.#ended.wait;
    this.#isClosed = true;
    const left = realIo(() => this.#folder.leave(this.#seat), impossible);
    // What was read for the last time may be what the next process reads first; but no disk holds up a close for long.
    return Effect.timeoutOption(this.settled, CLOSE_MILLIS).pipe(
      Effect.andThen(Effect.timeoutOption(left, CLOSE_MILLIS)),
      Effect.ensuring(Effect.sync(() => this.#ended.succeed())),
      Effect.asVoid,
    );
  });

  readonly figures = (): DiskCacheFigures => {
    const { index: { count, bytes }, damagedParts, tree } = this.#folder;
    const trouble = this.#isHung ? `folder ${tree.root} does not answer` : this.#folder.trouble;
    const { evictedKeys, evictedBytes, skippedParts } = this.#seat;
    return {
      partAccesses: this.#accesses,
      partHits: this.#hits,
      keys: count,
      bytes,
      evictedKeys,
      evictedBytes,
      skippedParts,
      damagedParts,
      ...(trouble === undefined ? {} : { trouble }),
    };
  };

  readonly getRange = (path: string, range: ByteRange, hint?: ReadHint): Effect.Effect<Uint8Array, StoreError> => {
    if (this.#isClosed || !this.#keeps(path)) return this.#inner.getRange(path, range, hint);
    return Effect.flatMap(Clock.Clock, (clock) => {
      checkRange(range);
      const begun = monotonicMillis(clock);
      const read = new RangeRead(path, this.#objects.object(path), range, this.#partBytes);
      if (hint?.fresh === true) return this.#refreshed(read, hint);
      if (read.lastPart - read.firstPart >= PARTS_PER_READ_MAX) return rangeOf(this.#inner, path, range, hint);
      return Effect.flatMap(this.#onDisk(() => this.#look(read)), () => {
        const missing = read.missing().length;
        const parts = read.lastPart - read.firstPart + 1;
        this.#accesses += parts;
        this.#hits += parts - missing;
        if (missing === 0) return Effect.succeed(read.answer());
        return this.#fetched(read, hint, clock, begun);
      });
    });
  };

  /** What the store itself answers; what is kept of it, or on its way, is forgotten. */
  #refreshed(read: RangeRead, hint: ReadHint): Effect.Effect<Uint8Array, StoreError> {
    const { object, firstPart, lastPart } = read;
    const forgotten = Effect.flatMap(momentNow, (moment) => {
      this.#fetcher.changes++;
      if (lastPart - firstPart >= PARTS_PER_READ_MAX) this.#folder.forget(object, moment);
      else this.#folder.discard(object, firstPart, lastPart, moment);
      return this.#folder.watched;
    });
    return Effect.andThen(forgotten, rangeOf(this.#inner, read.path, read.range, hint));
  }

  readonly getRanges = (
    path: string,
    ranges: ReadonlyArray<ByteRange>,
  ): Effect.Effect<ReadonlyArray<Uint8Array>, StoreError> => {
    if (this.#isClosed || !this.#keeps(path)) return this.#inner.getRanges(path, ranges);
    return Effect.forEach(ranges, (range) => this.getRange(path, range), { concurrency: REQUESTS_AT_ONCE });
  };

  readonly put = (path: string, body: Uint8Array): Effect.Effect<void, StoreError> =>
    this.#keeps(path)
      ? this.#inner.put(path, body).pipe(Effect.andThen(this.#changed(path)), Effect.andThen(this.#keepPut(path, body)))
      : this.#inner.put(path, body);

  readonly putIfAbsent: ObjectStoreShape["putIfAbsent"] = (path, body, identity) => {
    const put = this.#inner.putIfAbsent(path, body, identity);
    return !this.#keeps(path)
      ? put
      : Effect.tap(put, (answer) => answer === "created" ? this.#keepPut(path, body) : Effect.void);
  };

  readonly delete = (path: string): Effect.Effect<void, StoreError> =>
    Effect.andThen(this.#inner.delete(path), this.#changed(path));

  readonly copy = (source: string, target: string): Effect.Effect<void, StoreError> =>
    Effect.andThen(this.#inner.copy(source, target), this.#changed(target));

  readonly upload = (path: string): Effect.Effect<Upload, StoreError> =>
    Effect.map(this.#inner.upload(path), (upload) => ({
      ...upload,
      complete: Effect.andThen(upload.complete, this.#changed(path)),
    }));

  readonly warm = (path: string, end: number): Effect.Effect<boolean, StoreError> =>
    Effect.gen({ self: this }, function* () {
      const step = Math.max(1, Math.floor(WARM_BYTES / this.#partBytes)) * this.#partBytes;
      for (let offset = 0; offset < end; offset += step) {
        if (!(yield* this.#quiet)) return false;
        if (this.#isClosed || !this.#keeps(path)) return false;
        const object = this.#objects.object(path);
        const read = new RangeRead(path, object, { offset, length: Math.min(step, end - offset) }, this.#partBytes);
        yield* this.#onDisk(() => this.#passHeld(read));
        if (read.missing().length === 0) continue;
        const { length } = read.range;
        if (this.#isHung || this.#folder.trouble !== undefined || !this.#folder.reserve(length)) return false;
        const { clock, monotonicMillis: begun } = yield* momentNow;
        yield* Effect.ensuring(
          Effect.andThen(this.#fetcher.fill(read, end, { knownEnd: end, background: true }, clock, begun), this.#quiet),
          Effect.sync(() => this.#folder.release(length)),
        );
      }
      return this.figures().trouble === undefined;
    });

  /** Whether nothing waits to be written any more, after a wait that a busy disk ends. */
  readonly #quiet: Effect.Effect<boolean> = Effect.suspend(() =>
    Effect.map(Effect.timeoutOption(this.settled, QUIET_MILLIS), Option.isSome)
  );

  /** Work on the disk that must not hold up a reader for long; nothing, where the disk is being left alone. */
  #onDisk(work: () => Promise<void>): Effect.Effect<void> {
    return Effect.flatMap(Clock.Clock, (clock) => {
      if (monotonicMillis(clock) < this.#restsUntilMillis) return Effect.void;
      const done = Effect.map(realIo(work, impossible), () => void (this.#isHung = false));
      return Effect.timeoutOrElse(done, {
        duration: DISK_TIMEOUT_MILLIS,
        orElse: () =>
          Effect.sync(() => {
            this.#isHung = true;
            this.#restsUntilMillis = monotonicMillis(clock) + REST_MILLIS;
          }),
      });
    });
  }

  /** Supplies `read` with what is on the disk. */
  async #look(read: RangeRead): Promise<void> {
    const look = async (part: number) => {
      const piece = await this.#folder.read(read.object, part, read.from(part), read.to(part));
      if (piece !== undefined) read.supplyOwn(part, piece);
    };
    await this.#eachPart(read, look);
    // What somebody else has fetched and written meanwhile.
    for (const part of read.missing()) if (this.#folder.knows(read.object, part)) await look(part);
  }

  /** Takes out of `read` what is on the disk, without reading it. */
  async #passHeld(read: RangeRead): Promise<void> {
    await this.#eachPart(read, async (part) => {
      if (await this.#folder.holds(read.object, part, read.to(part))) read.supplyOwn(part, new Uint8Array(0));
    });
  }

  async #eachPart({ firstPart, lastPart }: RangeRead, work: (part: number) => Promise<void>): Promise<void> {
    if (firstPart === lastPart) return await work(firstPart);
    let next = firstPart;
    const lane = async () => {
      while (next <= lastPart) await work(next++);
    };
    const lanes: Array<Promise<void>> = [];
    for (let n = 0; n < FILES_AT_ONCE && firstPart + n <= lastPart; n++) lanes.push(lane());
    await Promise.all(lanes);
  }

  /** The answer to a read of which something is not on the disk. */
  #fetched(
    read: RangeRead,
    hint: ReadHint | undefined,
    clock: Clock.Clock,
    begun: number,
  ): Effect.Effect<Uint8Array, StoreError> {
    const { path, range } = read;
    const knownEnd = hint?.knownEnd;
    return Effect.flatMap(this.#endOf(path, knownEnd), (end) => {
      // The store knows best how to refuse what reaches past the end.
      if (end < read.end && knownEnd === undefined) return rangeOf(this.#inner, path, range, hint);
      const filled = this.#fetcher.fill(read, Math.max(end, read.end), hint, clock, begun);
      return Effect.map(filled, () => read.answer());
    });
  }

  /** Where the object ends, or may be read up to. */
  #endOf(path: string, knownEnd: number | undefined): Effect.Effect<number, StoreError> {
    const known = knownEnd ?? this.#objects.size(path);
    if (known !== undefined) return Effect.succeed(known);
    // The error of a read, which had to ask for the object's size first.
    const head = Effect.mapError(this.#inner.head(path), (error) => storeErrorWith(error, { op: "getRange" }));
    return Effect.map(head, ({ size }) => {
      this.#objects.learn(path, size);
      return size;
    });
  }

  /** Has bytes kept that begin with a part, if there is room; never waits for it. */
  #offer(object: CachedObject, firstPart: number, bytes: Uint8Array): Effect.Effect<void> {
    return Effect.flatMap(momentNow, (moment) => {
      if (this.#isClosed || moment.monotonicMillis < this.#restsUntilMillis) return Effect.void;
      const done = beginIo(moment.clock);
      const partBytes = this.#partBytes;
      if (this.#folder.offer({ seat: this.#seat, object, firstPart, partBytes, bytes, moment, done })) {
        return this.#folder.watched;
      }
      done();
      return Effect.void;
    });
  }

  /** Keeps what was put, if that is wanted: a copy, since the bytes are the caller's. */
  #keepPut(path: string, body: Uint8Array): Effect.Effect<void> {
    if (!this.#cachePuts || this.#isClosed) return Effect.void;
    const step = Math.ceil(TURN_BYTES / this.#partBytes) * this.#partBytes;
    const from = (start: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const offered = this.#offer(
          this.#objects.object(path),
          start / this.#partBytes,
          body.slice(start, start + step),
        );
        const next = start + step;
        return next >= body.length
          ? offered
          : offered.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(from(next)));
      });
    return body.length === 0 ? Effect.void : from(0);
  }

  /** Forgets an object that was replaced or deleted; does not wait for the disk. */
  #changed(path: string): Effect.Effect<void> {
    if (!this.#keeps(path)) return Effect.void;
    return Effect.flatMap(momentNow, (moment) => {
      this.#fetcher.changes++;
      this.#objects.forget(path);
      this.#folder.forget(this.#objects.object(path), moment);
      return this.#folder.watched;
    });
  }
}

/** What works on the folder never fails; if it did, it would be a defect. */
function impossible(cause: unknown): never {
  throw cause;
}
