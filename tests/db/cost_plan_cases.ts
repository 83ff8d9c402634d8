/**
 * Workloads that plans are held against, chosen to be different, not to be easy.
 *
 * @module
 */
import type { PlanCase } from "./cost_plan_world.ts";

const KIB = 1024;
const MIB = KIB * KIB;

/** By what they are. */
export const CASES: Readonly<Record<string, PlanCase>> = {
  "a stream of small rows that nobody waits for": {
    settings: { l0SstSizeBytes: 512 * KIB, compactor: { maxSstBytes: 8 * MIB } },
    workload: { rowsPerSecond: 2000, durable: false, putLatencyMillis: 0 },
    seconds: 90,
  },
  "the same with a window of a second and a slow store": {
    settings: { l0SstSizeBytes: 512 * KIB, flushIntervalMillis: 1000, compactor: { maxSstBytes: 8 * MIB } },
    workload: { rowsPerSecond: 2000, durable: false, putLatencyMillis: 50 },
    seconds: 90,
  },
  "rows of a kibibyte, leveled": {
    settings: {
      l0SstSizeBytes: MIB,
      compactor: { scheduler: "leveled", levelBaseBytes: 4 * MIB, maxSstBytes: MIB },
    },
    workload: { rowsPerSecond: 300, valueBytes: 1024, durable: false, putLatencyMillis: 0 },
    seconds: 120,
  },
  "ascending keys": {
    settings: { l0SstSizeBytes: 512 * KIB, compactor: { maxSstBytes: 2 * MIB } },
    workload: { rowsPerSecond: 1000, durable: false, keys: "ascending", putLatencyMillis: 0 },
    seconds: 120,
  },
  "a few keys written over and over": {
    settings: { l0SstSizeBytes: 512 * KIB },
    workload: { rowsPerSecond: 2000, durable: false, distinctKeys: 5000, putLatencyMillis: 0 },
    seconds: 90,
  },
  "awaited writes, one after the other reaches the store": {
    settings: {},
    workload: { rowsPerSecond: 19, putLatencyMillis: 30 },
    seconds: 300,
    isUneven: true,
  },
  "awaited writes that come faster than the store answers": {
    settings: { l0SstSizeBytes: 512 * KIB },
    workload: { rowsPerSecond: 500, putLatencyMillis: 40 },
    seconds: 80,
  },
  "batches under a ceiling of two objects a second": {
    settings: { maxWalPutsPerSecond: 2, l0SstSizeBytes: 512 * KIB },
    workload: { rowsPerSecond: 500, rowsPerWrite: 10, putLatencyMillis: 20 },
    seconds: 140,
  },
  "a trickle of awaited writes": {
    settings: {},
    workload: { rowsPerSecond: 0.5, putLatencyMillis: 30 },
    seconds: 3600,
  },
  "a slow trickle": {
    settings: {},
    workload: { rowsPerSecond: 1 / 60, putLatencyMillis: 30 },
    seconds: 14_400,
  },
  "a trickle that nobody waits for": {
    settings: {},
    workload: { rowsPerSecond: 2, durable: false, putLatencyMillis: 30 },
    seconds: 900,
    isUneven: true,
  },
  "no log": {
    settings: { wal: false, flushIntervalMillis: 2000, l0SstSizeBytes: 4 * MIB },
    workload: { rowsPerSecond: 500, durable: false, putLatencyMillis: 10 },
    seconds: 120,
  },
  "a log of its own, no compactor": {
    settings: { wal: "apart", compactor: false, garbageCollector: false, l0SstSizeBytes: 256 * KIB },
    workload: { rowsPerSecond: 200, valueBytes: 300, durable: false, putLatencyMillis: 5 },
    seconds: 120,
  },
  "small tables, collected": {
    settings: { l0SstSizeBytes: 64 * KIB, flushIntervalMillis: 500, compactor: { maxSstBytes: MIB } },
    workload: { rowsPerSecond: 20, durable: false, putLatencyMillis: 0, valueBytes: 100 },
    seconds: 1500,
  },
  "point reads without a cache": {
    settings: { l0SstSizeBytes: 256 * KIB, blockCacheBytes: 0, compactor: { maxSstBytes: 8 * MIB } },
    workload: { rowsPerSecond: 1000, durable: false, pointReadsPerSecond: 50, cacheHitRatio: 0, putLatencyMillis: 0 },
    seconds: 60,
  },
  "scans": {
    settings: { l0SstSizeBytes: 256 * KIB, blockCacheBytes: 0, compactor: { maxSstBytes: 8 * MIB } },
    workload: { rowsPerSecond: 1000, durable: false, scansPerSecond: 20, rowsPerScan: 100, putLatencyMillis: 0 },
    seconds: 60,
  },
  "large values, compacted seldom": {
    settings: { l0SstSizeBytes: 4 * MIB, compactor: { minCompactionSources: 6, maxSstBytes: 16 * MIB } },
    workload: { rowsPerSecond: 20, valueBytes: 20_000, putLatencyMillis: 15, rowsPerWrite: 2 },
    seconds: 150,
  },
  "readers of tables alone": {
    settings: { l0SstSizeBytes: 32 * KIB, flushIntervalMillis: 1000, compactor: false, garbageCollector: false },
    workload: {
      rowsPerSecond: 100,
      durable: false,
      putLatencyMillis: 0,
      readers: [{ mode: "follow", manifestPollIntervalMillis: 3000, skipWalReplay: true, count: 3 }],
    },
    seconds: 90,
  },
  "readers": {
    settings: { l0SstSizeBytes: 512 * KIB },
    workload: {
      rowsPerSecond: 500,
      durable: false,
      putLatencyMillis: 0,
      readers: [{ mode: "follow", manifestPollIntervalMillis: 1000 }, { count: 2 }],
    },
    seconds: 120,
  },
};
