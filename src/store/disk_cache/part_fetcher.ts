/**
 * Brings parts of objects from the store below: what others fetch already is waited for, neighbours come with one
 * request, and what came is offered to be kept.
 *
 * Invariants:
 * - One deadline for a read, however many fetches of others it has waited for.
 * - What came in another length than was asked for is nobody's answer and is not kept.
 * - Who has a deadline does not wait for what is fetched in the background.
 *
 * @module
 */
import { type Clock, Effect } from "effect";
import { monotonicMillis } from "../../env/monotonic_time.ts";
import { StoreError } from "../../errors.ts";
import type { ByteRange, ObjectStoreShape, ReadHint } from "../object_store.ts";
import { RetryDeadline } from "../retrier.ts";
import type { CachedObject } from "./part_name.ts";
import { type PartFlight, PartFlights, type RangeRead, runsOf } from "./range_read.ts";

/** Requests at once for one range. */
const REQUESTS_AT_ONCE = 8;

/** What a fetcher works with. */
export interface FetcherSpec {
  readonly inner: ObjectStoreShape;
  readonly partBytes: number;
  /** Bytes of a part that wait to be written. */
  readonly waiting: (object: CachedObject, part: number, from: number, to: number) => Uint8Array | undefined;
  /** Has bytes kept that begin with a part, if there is room; never waits for it. */
  readonly offer: (object: CachedObject, firstPart: number, bytes: Uint8Array) => Effect.Effect<void>;
}

/** A read that misses something. */
interface Asker {
  readonly read: RangeRead;
  /** Where the object ends, or may be read up to. */
  readonly end: number;
  readonly hint: ReadHint | undefined;
  /** Time left, ms, more than 0; undefined when it is over. */
  readonly left: () => number | undefined;
}

/** The fetches of one cache. */
export class PartFetcher {
  /** Objects replaced, deleted or doubted so far: what was asked for before one of them is not kept after it. */
  changes = 0;
  readonly #spec: FetcherSpec;
  readonly #flights = new PartFlights();

  constructor(spec: FetcherSpec) {
    this.#spec = spec;
  }

  /** Supplies what `read` misses, up to `end`. @param startMillis monotonic time at which the read began */
  fill(
    read: RangeRead,
    end: number,
    hint: ReadHint | undefined,
    clock: Clock.Clock,
    startMillis: number,
  ): Effect.Effect<void, StoreError> {
    return Effect.withFiber((fiber) => {
      const until = startMillis + fiber.getRef(RetryDeadline);
      const left = () => {
        const millis = until - monotonicMillis(clock);
        return millis >= 1 ? millis : undefined;
      };
      return this.#filled({ read, end, hint, left });
    });
  }

  #filled(asker: Asker): Effect.Effect<void, StoreError> {
    const { read, end, hint } = asker;
    const { partBytes, waiting } = this.#spec;
    // Nothing may come between entering a flight and the duty to end it.
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        for (const part of read.missing()) {
          const piece = waiting(read.object, part, read.from(part), read.to(part));
          if (piece !== undefined) read.supplyOwn(part, piece);
        }
        const { own, joined } = this.#flights.plan(
          read,
          (part) => Math.min(partBytes, end - part * partBytes),
          hint?.background === true,
        );
        const runs = runsOf(own);
        const fetching = runs.length === 1
          ? this.#fetchRun(asker, runs[0]!)
          : Effect.forEach(runs, (run) => this.#fetchRun(asker, run), { concurrency: REQUESTS_AT_ONCE, discard: true });
        const ended = Effect.ensuring(restore(fetching), Effect.sync(() => this.#flights.end(own)));
        return joined.length === 0 ? ended : Effect.andThen(ended, restore(this.#join(asker, joined)));
      })
    );
  }

  /** Waits for parts that others fetch; goes on by itself where they gave up or brought too little. */
  #join(asker: Asker, joined: ReadonlyArray<PartFlight>): Effect.Effect<void, StoreError> {
    const { read } = asker;
    const waited = Effect.forEach(joined, (flight) =>
      Effect.map(flight.done.wait, () => {
        if (flight.bytes !== undefined) read.supplyFrom(flight.part, flight.bytes);
      }), { discard: true });
    return Effect.flatMap(this.#inTime(asker, waited, joined), () => {
      if (read.missing().length === 0) return Effect.void;
      return asker.left() === undefined ? Effect.fail(tooLate(read, joined)) : this.#filled(asker);
    });
  }

  #inTime(
    { read, left }: Asker,
    waited: Effect.Effect<void, StoreError>,
    joined: ReadonlyArray<PartFlight>,
  ): Effect.Effect<void, StoreError> {
    const millis = left() ?? 1;
    if (millis === Infinity) return waited;
    return Effect.timeoutOrElse(waited, { duration: millis, orElse: () => Effect.fail(tooLate(read, joined)) });
  }

  /** Fetches neighbouring parts with one request. */
  #fetchRun(asker: Asker, run: ReadonlyArray<PartFlight>): Effect.Effect<void, StoreError> {
    const { read, hint, left } = asker;
    const { partBytes } = this.#spec;
    const first = run[0]!;
    const last = run.at(-1)!;
    const offset = first.part * partBytes;
    const end = last.part * partBytes + last.reach;
    const changes = this.changes;
    const fetched = Effect.suspend(() => {
      const asked = rangeOf(this.#spec.inner, read.path, { offset, length: end - offset }, hint);
      return Effect.provideService(asked, RetryDeadline, left() ?? 1);
    });
    return fetched.pipe(
      Effect.flatMap((bytes) => {
        for (const flight of run) {
          const start = flight.part * partBytes - offset;
          flight.bytes = bytes.subarray(start, start + flight.reach);
          read.supplyFrom(flight.part, flight.bytes);
          flight.done.succeed();
        }
        return changes === this.changes ? this.#spec.offer(read.object, first.part, bytes) : Effect.void;
      }),
      Effect.catch((error) => {
        const isLonger = first.part * partBytes + read.from(first.part) > offset ||
          last.part * partBytes + read.to(last.part) < end;
        // What was said of the object's end is wrong: the reader gets what it asked for, if that exists.
        if (error.reason === "short-read" && !error.retryable && isLonger) return this.#fetchExactly(asker, run);
        // Another reader's deadline may be later than this one's: it asks again for itself.
        if (!error.retryable) { for (const { done } of run) done.fail(error); }
        else for (const flight of run) flight.error = error;
        return Effect.fail(error);
      }),
    );
  }

  /** Fetches no byte that nobody asked for, and keeps nothing. */
  #fetchExactly({ read, hint }: Asker, run: ReadonlyArray<PartFlight>): Effect.Effect<void, StoreError> {
    const { partBytes } = this.#spec;
    const offset = run[0]!.part * partBytes + read.from(run[0]!.part);
    const end = run.at(-1)!.part * partBytes + read.to(run.at(-1)!.part);
    return Effect.map(rangeOf(this.#spec.inner, read.path, { offset, length: end - offset }, hint), (bytes) => {
      for (const { part } of run) {
        const start = part * partBytes + read.from(part) - offset;
        read.supplyOwn(part, bytes.slice(start, start + read.to(part) - read.from(part)));
      }
    });
  }
}

/** Exactly this range, asked for twice at most: a store may answer fewer or more bytes without an error. */
export function rangeOf(
  store: ObjectStoreShape,
  path: string,
  range: ByteRange,
  hint: ReadHint | undefined,
): Effect.Effect<Uint8Array, StoreError> {
  const asked = (isFirst: boolean): Effect.Effect<Uint8Array, StoreError> =>
    Effect.flatMap(store.getRange(path, range, hint), (bytes) => {
      if (bytes.length === range.length) return Effect.succeed(bytes);
      if (isFirst) return asked(false);
      const detail = `${bytes.length} bytes were answered, ${range.length} were asked for`;
      return Effect.fail(
        new StoreError({ op: "getRange", path, reason: "short-read", retryable: true, outcome: "none", detail }),
      );
    });
  return asked(true);
}

/** The error of a read whose time is over: why those failed that it waited for, where they did. */
function tooLate({ path }: RangeRead, joined: ReadonlyArray<PartFlight>): StoreError {
  for (const { error } of joined) if (error !== undefined) return error;
  return new StoreError({ op: "getRange", path, reason: "timeout", retryable: true, outcome: "none" });
}
