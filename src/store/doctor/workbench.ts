/**
 * What probes work with: the store, counted and with deadlines, below a folder that is theirs alone.
 *
 * Invariants:
 * - No name outside the folder is ever written or deleted: probes get names from {@linkcode Workbench.at} alone.
 * - Every name is noted before a request may create it, so that all of them can be deleted even where listings lie.
 * - Every request has a deadline, and ends before the folder is deleted: none takes effect afterwards unseen.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { bytesEqual } from "../../bytes/compare.ts";
import type { StoreError } from "../../errors.ts";
import { ifThere } from "../if_there.ts";
import { listAll } from "../list_all.ts";
import { metered, StoreMeter } from "../metered_store.ts";
import { deleteAll, type ObjectStoreShape } from "../object_store.ts";
import { RetryDeadline, retrying } from "../retrying_store.ts";
import { withDeadlines } from "./deadline_store.ts";
import type { Finding } from "./report.ts";

/** Longest that a request is repeated while its errors pass, ms. */
export const REQUEST_MILLIS: number = 25_000;
/** Longest that cleaning up may take, ms. */
const CLEAN_UP_MILLIS = 90_000;

/** A promise that was seen broken. */
export class Broken extends Error {
  override readonly name = "Broken";
}

/** What a probe may fail with: a broken promise, or a request that could not be made. */
export type ProbeFault = Broken | StoreError;

/** A promise of a store, and how to see whether it is kept. */
export interface Probe {
  readonly name: string;
  /** What a broken promise costs whoever keeps a database there. */
  readonly cost: string;
  readonly run: (bench: Workbench) => Effect.Effect<Finding, ProbeFault>;
}

/** Settings that probes look at. */
export interface BenchSettings {
  /** Fewer rounds, smaller bodies. */
  readonly quick: boolean;
  /** Whether listings of more than a page are looked at, which takes a thousand objects. */
  readonly pages: boolean;
}

/** The folder of one examination. */
export class Workbench {
  /** Repeats what fails in passing, as the engine does. */
  readonly store: ObjectStoreShape;
  /** One attempt, with its deadline: for races, where every single answer counts. */
  readonly single: ObjectStoreShape;
  readonly meter: StoreMeter = new StoreMeter();
  readonly settings: BenchSettings;
  /** Ends in "/". */
  readonly prefix: string;
  readonly #names: Set<string> = new Set();

  constructor(inner: ObjectStoreShape, prefix: string, settings: BenchSettings) {
    this.single = metered(withDeadlines(inner), { component: "doctor", meter: this.meter });
    this.store = retrying(this.single);
    this.prefix = prefix;
    this.settings = settings;
  }

  /** The whole name of an object in the folder, noted for deletion. */
  at(name: string): string {
    const path = this.prefix + name;
    this.#names.add(path);
    return path;
  }

  /** A folder inside, as listings want it. */
  folder(name: string): string {
    return `${this.prefix}${name}/`;
  }

  /** Requests so far, by kind. */
  get requests(): Readonly<Record<string, number>> {
    return this.meter.report().requests["doctor"] ?? {};
  }

  /** Deletes everything; answers what may be left. Never fails. */
  readonly cleanUp: Effect.Effect<ReadonlyArray<string>> = Effect.suspend(() => {
    if (this.#names.size === 0) return Effect.succeed([]);
    return this.#cleanUp.pipe(
      Effect.timeoutOrElse({ duration: CLEAN_UP_MILLIS, orElse: () => Effect.succeed([...this.#names]) }),
      Effect.provideService(RetryDeadline, REQUEST_MILLIS),
    );
  });

  readonly #cleanUp: Effect.Effect<ReadonlyArray<string>> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const bulk = yield* Effect.exit(deleteAll(this.store, [...this.#names]));
      const listed = yield* Effect.option(this.#listed);
      const seen = listed._tag === "Some" ? listed.value : [];
      const sure = bulk._tag === "Success" && listed._tag === "Some";
      if (sure && seen.length === 0) return [];
      // One by one what is left or may be, whatever the store said before; also what arrived late.
      const suspects = sure ? seen : [...new Set([...this.#names, ...seen])];
      const refused = yield* Effect.filter(
        suspects,
        (path) =>
          Effect.match(this.store.delete(path), {
            onSuccess: () => false,
            onFailure: (error) => error.reason !== "not-found",
          }),
        { concurrency: 16 },
      );
      const stays = yield* Effect.option(this.#listed);
      return stays._tag === "Some" ? [...new Set([...stays.value, ...refused])] : refused;
    })
  );

  readonly #listed: Effect.Effect<string[], StoreError> = Effect.suspend(() => {
    const names: string[] = [];
    return Effect.as(
      listAll(this.store, this.prefix, undefined, ({ path }) => {
        if (path.startsWith(this.prefix)) names.push(path);
      }),
      names,
    );
  });
}

/** Fails unless `condition` holds; `seen` says what was seen instead. */
export function expect(condition: boolean, seen: string): Effect.Effect<void, Broken> {
  return condition ? Effect.void : Effect.fail(new Broken(seen));
}

/** Fails unless the bytes are those expected. */
export function expectBytes(actual: Uint8Array, wanted: Uint8Array, what: string): Effect.Effect<void, Broken> {
  if (actual.length !== wanted.length) {
    return Effect.fail(new Broken(`${what} has ${actual.length} bytes instead of ${wanted.length}`));
  }
  return expect(bytesEqual(actual, wanted), `${what} has other bytes than were stored`);
}

/** Fails unless `request` answers that there is no such object. */
export function expectMissing(
  request: Effect.Effect<unknown, StoreError>,
  what: string,
): Effect.Effect<void, ProbeFault> {
  return Effect.flatMap(ifThere(Effect.as(request, "there")), (answer) => expect(answer === undefined, what));
}

/** A row that passed. */
export function passed(detail: string, figures?: Readonly<Record<string, number>>): Finding {
  return figures === undefined ? { verdict: "pass", detail } : { verdict: "pass", detail, figures };
}

/** How long an effect took, ms, beside its value. */
export function timed<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<readonly [value: A, millis: number], E> {
  return Clock.clockWith((clock) => {
    const begun = clock.monotonicTimeNanosUnsafe();
    return Effect.map(
      effect,
      (value) => [value, Number(clock.monotonicTimeNanosUnsafe() - begun) / 1e6] as const,
    );
  });
}

/** `length` bytes that are a function of `seed` and do not compress. */
export function probeBytes(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** The bytes of a text. */
export function textBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
