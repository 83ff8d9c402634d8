/**
 * What every object store must do, as a list of cases that need no test framework.
 *
 * Each case wants a fresh, empty store and rejects when the store falls short; the message says how. Only promises of
 * `ObjectStoreShape` are checked, not what a store may choose (times, whether it keeps put-ids). For an adapter of your
 * own:
 *
 * ```ts ignore
 * for (const { name, run } of storeConformanceCases()) {
 *   it(name, async () => await run(await myEmptyStore()));
 * }
 * ```
 *
 * @module
 */
import { Effect } from "effect";
import type { RunEffect, StoreCheck } from "./conformance/check.ts";
import { LISTING_CHECKS } from "./conformance/listing_checks.ts";
import { OBJECT_CHECKS } from "./conformance/object_checks.ts";
import { UPLOAD_CHECKS } from "./conformance/upload_checks.ts";
import type { ObjectStoreShape } from "./object_store.ts";

export type { RunEffect };

/** One case: rejects with an `Error` when `store` breaks the promise that `name` says. */
export interface StoreConformanceCase {
  /** The promise in plain words. */
  readonly name: string;
  /** Checks `store`, which must be fresh and empty. */
  readonly run: (store: ObjectStoreShape) => Promise<void>;
}

/** A store for one case, and how to get rid of it. */
export interface ConformanceStore {
  /** Fresh and empty. */
  readonly store: ObjectStoreShape;
  /** Called when the case has ended. */
  readonly dispose: () => Promise<void> | void;
}

/** The two words of a test framework that {@linkcode storeConformance} needs. */
export interface ConformanceRunner {
  /** Groups tests. */
  readonly describe: (name: string, body: () => void) => unknown;
  /** Registers a test that fails when its promise rejects. */
  readonly it: (name: string, body: () => Promise<void>) => unknown;
}

/** All cases. `runEffect` runs the store's effects; `Effect.runPromise` when absent. */
export function storeConformanceCases(runEffect: RunEffect = Effect.runPromise): ReadonlyArray<StoreConformanceCase> {
  const checks: ReadonlyArray<StoreCheck> = [...OBJECT_CHECKS, ...LISTING_CHECKS, ...UPLOAD_CHECKS];
  return checks.map(({ name, check }) => ({ name, run: (store) => check({ store, run: runEffect }) }));
}

/** Registers all cases with a test framework, each with a store of its own from `makeStore`. */
export function storeConformance(
  name: string,
  makeStore: () => Promise<ConformanceStore> | ConformanceStore,
  runner: ConformanceRunner,
  runEffect?: RunEffect,
): void {
  runner.describe(`${name} is an object store`, () => {
    for (const one of storeConformanceCases(runEffect)) {
      runner.it(`${name}: ${one.name}`, async () => {
        const { store, dispose } = await makeStore();
        try {
          await one.run(store);
        } finally {
          await dispose();
        }
      });
    }
  });
}
