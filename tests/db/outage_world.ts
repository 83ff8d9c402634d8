/**
 * Databases in an outage, in virtual time: what goes on asking, how much of it reaches the store, what is lost.
 *
 * @module
 */
import { openReader } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import type { Reads } from "../../src/db/api.ts";
import { Unavailable } from "../../src/errors.ts";
import { assert } from "../support/suite.ts";
import { World } from "./fault_world.ts";

/** Buffers so small that every outage is longer than all of them. */
export const SMALL: OpenOptions = {
  l0SstSizeBytes: 4000,
  maxUnflushedBytes: 20_000,
  blockSizeBytes: 1024,
  blockCacheBytes: 0,
  flushIntervalMillis: 100,
  requestTimeoutMillis: 10_000,
  compactor: { maxSstBytes: 8000 },
};

/** A value that fills some of a block. */
export const VALUE: string = "v".repeat(100);

/** Key number `i`. */
export const keyOf = (i: number): string => `key ${String(i).padStart(5, "0")}`;

/** A world that counts what reaches the store, and has many users. */
export class OutageWorld extends World {
  #askers = true;

  /** A follower of the same database, as another process has it. */
  reader(options: Parameters<typeof openReader>[1] = {}): ReturnType<typeof openReader> {
    const { blockCacheBytes, requestTimeoutMillis, clock } = this.options as Required<OpenOptions>;
    return this.get(
      openReader({ store: this.store, path: "" }, { blockCacheBytes, requestTimeoutMillis, clock, ...options }),
      100_000,
    );
  }

  /** Puts keys `from` to `to`, and answers the numbers in the order in which they are answered. */
  puts(db: Db, from: number, to: number): { readonly answered: number[]; readonly all: Promise<unknown> } {
    const answered: number[] = [];
    const puts: Array<Promise<unknown>> = [];
    for (let i = from; i < to; i++) puts.push(db.put(keyOf(i), VALUE).then(() => answered.push(i)));
    const all = Promise.all(puts);
    all.catch(() => {});
    return { answered, all };
  }

  /** `count` callers that read cold keys one after the other, until {@linkcode rest}; what they met is noted. */
  askers(reads: Reads, count: number, keys: number): { values: number; refused: number; longestMillis: number } {
    const met = { values: 0, refused: 0, longestMillis: 0 };
    const ask = async (i: number): Promise<void> => {
      for (let n = i; this.#askers; n += 7) {
        const begun = this.clock.now();
        try {
          const value = await reads.get(keyOf(n % keys));
          assert.equal(value?.length, VALUE.length, "a wrong value");
          met.values++;
        } catch (error) {
          assert.ok(error instanceof Unavailable, String(error));
          met.refused++;
        }
        met.longestMillis = Math.max(met.longestMillis, this.clock.now() - begun);
        // A caller that is refused comes back, but not without a pause.
        await this.pause(100);
      }
    };
    for (let i = 0; i < count; i++) ask(i).catch((error: unknown) => void (this.trouble ??= error));
    return met;
  }

  /** What a caller met that it must never meet. */
  trouble: unknown = undefined;

  /** Waits for so much virtual time. */
  pause(millis: number): Promise<void> {
    return new Promise((resolve) => this.#later.push([this.clock.now() + millis, resolve]));
  }

  readonly #later: Array<readonly [number, () => void]> = [];

  /** Lets time pass in steps of 100 ms, callers included. */
  async pass(millis: number): Promise<void> {
    for (const end = this.clock.now() + millis; this.clock.now() < end;) {
      await this.clock.advance(Math.min(100, end - this.clock.now()));
      const due = this.#later.filter(([at]) => at <= this.clock.now());
      if (due.length === 0) continue;
      const waiting = this.#later.filter(([at]) => at > this.clock.now());
      this.#later.splice(0, this.#later.length, ...waiting);
      for (const [, resolve] of due) resolve();
    }
    if (this.trouble !== undefined) throw this.trouble;
  }

  /** Requests that reach the store in each of the next minutes. */
  async minutes(count: number): Promise<number[]> {
    const counts: number[] = [];
    for (let i = 0; i < count; i++) {
      const from = this.store.controls.requestCount;
      await this.pass(60_000);
      counts.push(this.store.controls.requestCount - from);
    }
    return counts;
  }

  /** Ends the callers. */
  async rest(): Promise<void> {
    this.#askers = false;
    await this.pass(30_000);
  }
}

/** Fills a database with `count` keys in tables. */
export async function filled(world: World, count: number, options: OpenOptions = {}): Promise<Db> {
  const db = await world.open(options);
  for (let i = 0; i < count; i += 50) {
    await world.get(Promise.all(Array.from({ length: 50 }, (_, n) => db.put(keyOf(i + n), VALUE))));
  }
  await world.get(db.flush({ kind: "memtable" }));
  return db;
}
