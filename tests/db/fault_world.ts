/**
 * Databases on a memory store that can be made to fail, in virtual time: what the tests of faults have in common.
 *
 * @module
 */
import { Effect, Random } from "effect";
import { open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { Database } from "../../src/db/database.ts";
import { resolveLocation } from "../../src/db/location.ts";
import { openEngine } from "../../src/db/open.ts";
import { type OpenOptions, type ResolvedOptions, resolveOptions } from "../../src/db/options.ts";
import { promiseFace } from "../../src/db/promise.ts";
import { Ids, seededIds } from "../../src/env/ids.ts";
import { type VirtualClock, virtualClock } from "../../src/env/virtual_clock.ts";
import { Closed } from "../../src/errors.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import type { Manifest } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { type FaultyStore, faultyStore } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert } from "../support/suite.ts";

/** Wall time at which worlds begin, ms. */
export const START_MILLIS = 1_000_000;

/** How a promise ended, in virtual time. */
export type Outcome<A> =
  | { readonly ended: "value"; readonly value: A; readonly afterMillis: number }
  | { readonly ended: "error"; readonly error: unknown; readonly afterMillis: number }
  | { readonly ended: "never" };

/** A memory store, the faults before it, and the clock of whoever opens it. */
export class World {
  readonly clock: VirtualClock = virtualClock(START_MILLIS);
  readonly inner: MemoryStore;
  readonly store: FaultyStore;
  readonly #options: OpenOptions;

  /**
   * @param putIds whether the store keeps put-ids; files do not
   * @param seed of everything that the faults draw
   * @param through leads to `inner`, for who looks at the requests behind the faults
   */
  constructor(
    options: OpenOptions = {},
    inner: MemoryStore = memoryStore(),
    putIds = true,
    seed = 0,
    through: ObjectStoreShape = inner,
  ) {
    this.inner = inner;
    this.store = faultyStore(putIds ? through : withoutPutIds(through), { seed });
    this.#options = options;
  }

  /** Opens through the faults; time moves while it opens, at most 100 s. */
  open(options: OpenOptions = {}): Promise<Db> {
    return this.get(open({ store: this.store, path: "" }, { ...this.options, ...options }), 100_000);
  }

  /** Options of a writer of this world. */
  get options(): OpenOptions {
    return { flushIntervalMillis: null, clock: this.clock, ...this.#options };
  }

  /** Lets time pass until `promise` has ended, at most `withinMillis`. */
  async outcome<A>(promise: Promise<A>, withinMillis: number): Promise<Outcome<A>> {
    const begun = this.clock.now();
    let outcome: Outcome<A> = { ended: "never" };
    promise.then(
      (value) => outcome = { ended: "value", value, afterMillis: this.clock.now() - begun },
      (error) => outcome = { ended: "error", error, afterMillis: this.clock.now() - begun },
    );
    await this.clock.settle();
    while (outcome.ended === "never" && this.clock.now() - begun < withinMillis) {
      await this.clock.advance(Math.min(50, withinMillis));
    }
    return outcome;
  }

  /** The value of a promise that must succeed within so much virtual time. */
  async get<A>(promise: Promise<A>, withinMillis = 10_000): Promise<A> {
    const outcome = await this.outcome(promise, withinMillis);
    if (outcome.ended === "value") return outcome.value;
    if (outcome.ended === "error") throw outcome.error;
    throw new Error(`nothing came of it in ${withinMillis} ms`);
  }

  /** The error of a promise that must fail within so much virtual time. */
  async error(promise: Promise<unknown>, withinMillis = 10_000): Promise<unknown> {
    const outcome = await this.outcome(promise, withinMillis);
    assert.equal(outcome.ended, "error", `it ended with ${outcome.ended}, not with an error`);
    return outcome.ended === "error" ? outcome.error : undefined;
  }

  /** What the database holds, by a new writer on the sound store in a copy of it. */
  contents(options: OpenOptions = {}): Promise<Map<string, string>> {
    return contentsOf(this.inner, { ...this.options, clock: virtualClock(START_MILLIS + 10_000_000), ...options });
  }

  /** The newest stored manifest. */
  get manifest(): Manifest {
    const newest = this.inner.objects().filter((path) => path.startsWith("manifest/")).at(-1)!;
    return decodeManifest(this.inner.peek(newest)!).manifest;
  }

  /** Paths below a folder. */
  paths(folder: string): string[] {
    return this.inner.objects().filter((path) => path.startsWith(`${folder}/`));
  }

  /** Sequence numbers of all rows in the log, in its order. */
  get walSeqs(): number[] {
    const seqs: number[] = [];
    for (const path of this.paths("wal")) {
      for (const rows = new WalRows(this.inner.peek(path)!); rows.next();) seqs.push(rows.seq);
    }
    return seqs;
  }
}

/**
 * `open` with every chance drawn from `seed`: ids of tables and puts, and the waits between repetitions.
 *
 * @param internals settings that callers cannot give, such as blocks smaller than they may be
 */
export function openSeeded(
  store: ObjectStoreShape,
  options: OpenOptions,
  seed: number,
  internals: Partial<ResolvedOptions> = {},
): Promise<Db> {
  return Effect.runPromise(
    Effect.gen(function* () {
      const place = yield* resolveLocation({ store, path: "" });
      return promiseFace(new Database(yield* openEngine(place, { ...resolveOptions(options), ...internals })));
    }).pipe(Effect.provideService(Ids, seededIds(seed)), Random.withSeed(`${seed}`)),
  );
}

/** What a database holds, read in a copy of the store. */
export async function contentsOf(store: MemoryStore, options: OpenOptions): Promise<Map<string, string>> {
  const db = await open({ store: store.clone(), path: "" }, options);
  const decoder = new TextDecoder();
  const rows = await db.scan().toArray();
  await db.close();
  return new Map(rows.map((row) => [decoder.decode(row.key), decoder.decode(row.value)]));
}

/** The same store, as one that keeps no put-ids. */
export function withoutPutIds(store: ObjectStoreShape): ObjectStoreShape {
  return {
    ...store,
    get: store.get,
    head: (path) => Effect.map(store.head(path), ({ putId: _, ...meta }) => meta),
    putIfAbsent: (path, body) => store.putIfAbsent(path, body),
  };
}

/** Fails unless the error says that another writer took over. */
export function assertFenced(error: unknown): void {
  assert.ok(error instanceof Closed && error.reason === "fenced", `not fenced, but ${String(error)}`);
}
