/**
 * The store with a cache on the disk: how reads become parts, and where the parts come from.
 *
 * Disk first, then flights of others, then own requests; what was fetched is offered to the folder and the reader does
 * not wait for that. No answer shares memory with what is written.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { monotonicMillis } from "../../env/monotonic_time.ts";
import { OneShot } from "../../env/one_shot.ts";
import { beginIo, realIo } from "../../env/real_io.ts";
import { type StoreError, storeErrorWith } from "../../errors.ts";
import type { DiskCacheFigures, DiskCacheOptions, DiskCacheStore } from "../disk_cache.ts";
import { fileError, nodeFileSystem } from "../file/file_system.ts";
import type { ByteRange, ObjectStoreShape, ReadHint, Upload } from "../object_store.ts";
import { checkRange } from "../store_names.ts";
import { KnownObjects } from "./known_objects.ts";
import { momentNow } from "./moment.ts";
import { PartFolder, type Seat } from "./part_folder.ts";
import { type CachedObject, isKept } from "./part_name.ts";
import { type PartFlight, PartFlights, RangeRead, runsOf } from "./range_read.ts";

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
  readonly #flights = new PartFlights();
  readonly #objects: KnownObjects;
  readonly provider: ObjectStoreShape["provider"];
  readonly deleteMany: ObjectStoreShape["deleteMany"];
  readonly get: ObjectStoreShape["get"];
  readonly head: ObjectStoreShape["head"];
  readonly list: ObjectStoreShape["list"];
  #accesses = 0;
  #hits = 0;
  /** Objects replaced or deleted so far: what was fetched before one of them is not kept after it. */
  #changes = 0;
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
    Effect.flatMap(momentNow, (moment) =>
      realIo(
        () => this.#folder.prepare(moment),
        (cause) => fileError(this.#folder.tree.root, "put", "", cause),
      ))
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
    return Effect.suspend(() => {
      checkRange(range);
      const read = new RangeRead(path, this.#objects.object(path), range, this.#partBytes);
      if (read.lastPart - read.firstPart >= PARTS_PER_READ_MAX) return this.#inner.getRange(path, range, hint);
      if (hint?.fresh === true) {
        const discarded = this.#onDisk(() => this.#folder.discard(read.object, read.firstPart, read.lastPart));
        return Effect.andThen(discarded, this.#inner.getRange(path, range, hint));
      }
      return Effect.flatMap(this.#onDisk(() => this.#look(read)), () => {
        const missing = read.missing().length;
        const parts = read.lastPart - read.firstPart + 1;
        this.#accesses += parts;
        this.#hits += parts - missing;
        if (missing === 0) return Effect.succeed(read.answer());
        return this.#fetched(read, hint?.knownEnd);
      });
    });
  };

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
        yield* this.settled;
        if (this.#isClosed || !this.#keeps(path)) return false;
        const read = new RangeRead(
          path,
          this.#objects.object(path),
          { offset, length: Math.min(step, end - offset) },
          this.#partBytes,
        );
        yield* this.#onDisk(() => this.#passHeld(read));
        if (read.missing().length === 0) continue;
        const { length } = read.range;
        if (this.#folder.trouble !== undefined || !this.#folder.reserve(length)) return false;
        yield* Effect.ensuring(
          Effect.andThen(this.#filled(read, end), this.settled),
          Effect.sync(() => this.#folder.release(length)),
        );
      }
      return this.#folder.trouble === undefined;
    });

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
  #fetched(read: RangeRead, knownEnd: number | undefined): Effect.Effect<Uint8Array, StoreError> {
    const { path, range } = read;
    return Effect.flatMap(this.#endOf(path, knownEnd), (end) => {
      // The store knows best how to refuse what reaches past the end.
      if (end < read.end && knownEnd === undefined) return this.#inner.getRange(path, range);
      return Effect.map(this.#filled(read, Math.max(end, read.end)), () => read.answer());
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

  /** Supplies what `read` misses: by own requests, or from those of others. */
  #filled(read: RangeRead, end: number): Effect.Effect<void, StoreError> {
    // Nothing may come between entering a flight and the duty to end it.
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        for (const part of read.missing()) {
          const piece = this.#folder.waiting(read.object, part, read.from(part), read.to(part));
          if (piece !== undefined) read.supplyOwn(part, piece);
        }
        const { own, joined } = this.#flights.plan(
          read,
          (part) => Math.min(this.#partBytes, end - part * this.#partBytes),
        );
        const runs = runsOf(own);
        const fetching = runs.length === 1
          ? this.#fetchRun(read, runs[0]!)
          : Effect.forEach(runs, (run) => this.#fetchRun(read, run), { concurrency: REQUESTS_AT_ONCE, discard: true });
        const ended = Effect.ensuring(restore(fetching), Effect.sync(() => this.#flights.end(own)));
        return joined.length === 0 ? ended : Effect.andThen(ended, restore(this.#join(read, joined, end)));
      })
    );
  }

  /** Waits for parts that others fetch; goes on by itself where they gave up or brought too little. */
  #join(read: RangeRead, joined: ReadonlyArray<PartFlight>, end: number): Effect.Effect<void, StoreError> {
    const waited = Effect.forEach(joined, (flight) =>
      Effect.map(flight.done.wait, () => {
        if (flight.bytes !== undefined) read.supplyFrom(flight.part, flight.bytes);
      }), { discard: true });
    return Effect.flatMap(waited, () => read.missing().length === 0 ? Effect.void : this.#filled(read, end));
  }

  /** Fetches neighbouring parts with one request. */
  #fetchRun(read: RangeRead, run: ReadonlyArray<PartFlight>): Effect.Effect<void, StoreError> {
    const first = run[0]!;
    const last = run.at(-1)!;
    const offset = first.part * this.#partBytes;
    const end = last.part * this.#partBytes + last.reach;
    const changes = this.#changes;
    return Effect.suspend(() => this.#inner.getRange(read.path, { offset, length: end - offset })).pipe(
      Effect.flatMap((bytes) => {
        for (const flight of run) {
          const start = flight.part * this.#partBytes - offset;
          flight.bytes = bytes.subarray(start, start + flight.reach);
          read.supplyFrom(flight.part, flight.bytes);
          flight.done.succeed();
        }
        return changes === this.#changes ? this.#offer(read.object, first.part, bytes) : Effect.void;
      }),
      Effect.catch((error) => {
        const isLonger = first.part * this.#partBytes + read.from(first.part) > offset ||
          last.part * this.#partBytes + read.to(last.part) < end;
        // What was said of the object's end is wrong: the reader gets what it asked for, if that exists.
        if (error.reason === "short-read" && !error.retryable && isLonger) return this.#fetchExactly(read, run);
        // Another reader's deadline may be later than this one's: it asks again for itself.
        if (!error.retryable) { for (const { done } of run) done.fail(error); }
        return Effect.fail(error);
      }),
    );
  }

  /** Fetches no byte that nobody asked for, and keeps nothing. */
  #fetchExactly(read: RangeRead, run: ReadonlyArray<PartFlight>): Effect.Effect<void, StoreError> {
    const offset = run[0]!.part * this.#partBytes + read.from(run[0]!.part);
    const end = run.at(-1)!.part * this.#partBytes + read.to(run.at(-1)!.part);
    return Effect.map(this.#inner.getRange(read.path, { offset, length: end - offset }), (bytes) => {
      for (const { part } of run) {
        const start = part * this.#partBytes + read.from(part) - offset;
        read.supplyOwn(part, bytes.slice(start, start + read.to(part) - read.from(part)));
      }
    });
  }

  /** Has bytes kept that begin with a part, if there is room; never waits for it. */
  #offer(object: CachedObject, firstPart: number, bytes: Uint8Array): Effect.Effect<void> {
    return Effect.flatMap(momentNow, (moment) => {
      if (this.#isClosed || moment.monotonicMillis < this.#restsUntilMillis) return Effect.void;
      const done = beginIo(moment.clock);
      const partBytes = this.#partBytes;
      if (!this.#folder.offer({ seat: this.#seat, object, firstPart, partBytes, bytes, moment, done })) done();
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

  /** Forgets an object that was replaced or deleted. */
  #changed(path: string): Effect.Effect<void> {
    if (!this.#keeps(path)) return Effect.void;
    return Effect.suspend(() => {
      this.#changes++;
      this.#objects.forget(path);
      return realIo(() => this.#folder.forget(this.#objects.object(path)), impossible);
    });
  }
}

/** What works on the folder never fails; if it did, it would be a defect. */
function impossible(cause: unknown): never {
  throw cause;
}
