/**
 * What a database counts: plain numbers that the hot paths add to, and the histogram of request times.
 *
 * An event costs one addition, a row nothing. Nobody is told of a change: who wants to know reads.
 *
 * @module
 */

/** The counts of one open database or reader since it was opened. */
export class EngineCounters {
  /** Point lookups, one per key. */
  gets = 0;
  /** Scans begun. */
  scans = 0;
  /** Ranges of tables that point lookups, and that scans, had to ask for, and the bytes of these. */
  getRequests = 0;
  getBytes = 0;
  scanRequests = 0;
  scanBytes = 0;
  /** Calls of `flush`. */
  flushes = 0;
  /** Puts, deletes and merges accepted, those in batches one by one. */
  writeOps = 0;
  /** Writes accepted, a batch being one. */
  writeBatches = 0;
  /** Writes that had to wait for room. */
  backpressure = 0;
  /** WAL objects stored. */
  walFlushes = 0;
  /** Times that the WAL flusher was asked to store what is buffered; requests while it is at work are one. */
  walFlushRequests = 0;
  /** Memtables that became tables. */
  memtableFlushes = 0;
  /** Bytes of those tables. */
  l0FlushBytes = 0;
  /** Lookups in a table that its filter let pass, ruled out, and let pass although the key is not there. */
  filterPositives = 0;
  filterNegatives = 0;
  filterFalsePositives = 0;
  /**
   * Lookups answered by one block of one table with a filter, all in the cache: a filter that let pass, and three hits,
   * in one addition. They are not in the counts of these.
   */
  usualLookups = 0;
  /** Operands given to the merge operator by reads, flushes and compactions. */
  operandsRead = 0;
  operandsFlush = 0;
  operandsCompact = 0;
  /** Parts of tables that were in the cache, and parts that had to be fetched. */
  blockHits = 0;
  blockMisses = 0;
  indexHits = 0;
  indexMisses = 0;
  filterHits = 0;
  filterMisses = 0;
  statsHits = 0;
  statsMisses = 0;
  /** Faults of the cache itself; one in memory has none. */
  cacheErrors = 0;
  /** Bytes read by compactions that were published. */
  compactedBytes = 0;
  /** When the last compaction was published, s since 1970; 0 for never. */
  lastCompactionSeconds = 0;
  /** Passes of the collector. */
  gcRuns = 0;
  /** Objects it deleted. */
  gcManifests = 0;
  gcWals = 0;
  gcTables = 0;
  gcCompactions = 0;

  /** Counts a compaction that was published at `nowMillis`. */
  compacted(bytes: number, nowMillis: number): void {
    this.compactedBytes += bytes;
    this.lastCompactionSeconds = Math.floor(nowMillis / 1000);
  }

  /** Counts a range of a table that a read had to ask for; what is brought before anybody reads it is no read's. */
  asked(purpose: "get" | "scan" | "preload" | "inspect", bytes: number): void {
    if (purpose === "scan") {
      this.scanRequests++;
      this.scanBytes += bytes;
    } else if (purpose === "get") {
      this.getRequests++;
      this.getBytes += bytes;
    }
  }

  /** Counts a write of so many operations. */
  wrote(operations: number): void {
    this.writeOps += operations;
    this.writeBatches++;
  }
}

/** Upper bounds of the buckets of request times, s. */
export const DURATION_BOUNDS: ReadonlyArray<number> = [
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
];

/** A histogram of durations. */
export class Durations {
  /** Observations per bucket; the last one is above all bounds. */
  readonly buckets: Float64Array = new Float64Array(DURATION_BOUNDS.length + 1);
  count = 0;
  /** Sum of all observations, s. */
  sum = 0;
  /** Smallest and largest observation, s; Infinity and 0 when there is none. */
  min: number = Infinity;
  max = 0;

  /** Takes one observation, s. */
  add(seconds: number): void {
    let bucket = 0;
    while (bucket < DURATION_BOUNDS.length && seconds > DURATION_BOUNDS[bucket]!) bucket++;
    this.buckets[bucket]! += 1;
    this.count++;
    this.sum += seconds;
    if (seconds < this.min) this.min = seconds;
    if (seconds > this.max) this.max = seconds;
  }

  /** Adds all observations of another. */
  merge(other: Durations): void {
    for (let i = 0; i < this.buckets.length; i++) this.buckets[i]! += other.buckets[i]!;
    this.count += other.count;
    this.sum += other.sum;
    this.min = Math.min(this.min, other.min);
    this.max = Math.max(this.max, other.max);
  }

  /** Bounds with the number of observations at or below each. */
  get cumulative(): Array<[bound: number, count: number]> {
    let sum = 0;
    return DURATION_BOUNDS.map((bound, i) => [bound, sum += this.buckets[i]!]);
  }
}
