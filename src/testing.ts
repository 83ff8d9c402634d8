/**
 * Tools for testing programs that use Phyllite, and stores that Phyllite shall use.
 *
 * - {@linkcode memoryStore}: objects in memory, which can be looked at, damaged, cloned and put back.
 * - {@linkcode faultyStore}: a store with faults, scripted or by chance: lost answers, outages, crashes, damage.
 * - {@linkcode virtualClock}: time that moves only when told, and knows when everything it caused has settled.
 * - {@linkcode SeededScheduler}: interleavings of fibers as a function of a seed.
 * - {@linkcode storeConformance}: what every object store must do, for any test framework.
 *
 * @module
 */
export * from "./env/real_io.ts";
export * from "./env/seeded_scheduler.ts";
export * from "./env/virtual_clock.ts";
export * from "./store/faulty_store.ts";
export * from "./store/memory_store.ts";
export * from "./store/store_conformance.ts";
