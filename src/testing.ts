/**
 * Tools for testing programs that use Phyllite, and stores that Phyllite shall use.
 *
 * - {@linkcode memoryStore}: objects in memory, which can be looked at, damaged, cloned and put back.
 * - {@linkcode faultyStore}: a store with faults, scripted or by chance: lost answers, outages, crashes, damage.
 * - {@linkcode virtualClock}: time that moves only when told, and knows when everything it caused has settled.
 * - {@linkcode SeededScheduler}: interleavings of fibers as a function of a seed.
 * - {@linkcode storeConformance}: what every object store must do, for any test framework.
 *
 * A clock and a failing store under a database: an acknowledged write survives, whatever happens to the process.
 *
 * ```ts
 * import { open } from "@phyllite/db";
 * import { faultyStore, memoryStore, virtualClock } from "@phyllite/db/testing";
 *
 * const objects = memoryStore();
 * const store = faultyStore(objects, {
 *   rules: [
 *     // The third log object is stored, but nobody hears of it: the retry meets its own object and goes on.
 *     { op: "putIfAbsent", prefix: "wal/", nth: 3, fault: { kind: "after" } },
 *   ],
 * });
 * const clock = virtualClock(0);
 * const db = await open({ store, path: "" }, { clock });
 * const first = db.put("account", "100 coins");
 * await clock.advance(1_000);
 * await first; // acknowledged
 * const second = db.put("account", "90 coins");
 * await clock.advance(1_000); // retries wait on this clock
 * await second; // acknowledged, although its first answer was lost
 * store.controls.crash(); // from here on nothing reaches the store and nothing answers: the process is dead
 * db.put("account", "0 coins").catch(() => {});
 * await clock.advance(1_000);
 *
 * await using reopened = await open({ store: objects, path: "" });
 * const value = await reopened.get("account");
 * if (new TextDecoder().decode(value) !== "90 coins") throw new Error("an acknowledged write was lost");
 * ```
 *
 * @module
 */
export * from "./env/real_io.ts";
export * from "./env/seeded_scheduler.ts";
export * from "./env/virtual_clock.ts";
export * from "./store/faulty_store.ts";
export * from "./store/memory_store.ts";
export * from "./store/store_conformance.ts";
