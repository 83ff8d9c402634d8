/**
 * Phyllite as a contender of the side-by-side benchmark: the adapter that its driver loads by path.
 *
 * Goes through the public Promise API of `mod.ts` only, with full semantics (sequence numbers, WAL on, default
 * options), so that what it measures is what a user gets. The same file runs on Deno, Bun and Node 22; the package
 * `effect` is resolved from the repository's `node_modules`.
 *
 * Invariants: nothing is answered from outside the engine; a synchronous read that would need I/O is an error, never a
 * made-up answer.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { type Location, NOT_CACHED, open as openDb, type OpenOptions, WriteBatch } from "../mod.ts";
import { memoryStore } from "../src/testing.ts";

/** An open database of the Promise face. */
export type Db = Awaited<ReturnType<typeof openDb>>;

/** Where the driver wants its data. */
export interface StoreSpec {
  readonly kind: "memory" | "file" | "s3";
  /** Folder of the file store. */
  readonly dir: string;
  /** Address of the S3 simulator. */
  readonly endpoint?: string;
}

/** How the driver opens a database. */
export interface ContenderOptions {
  /** Database below the store's folder. Default "db". */
  readonly path?: string;
  /** Start empty. */
  readonly fresh?: boolean;
  /** Size at which a memtable becomes a level-0 table, bytes. */
  readonly l0Bytes?: number;
  /** Block cache off. */
  readonly noCache?: boolean;
  /** No compactor, and any number of level-0 tables. */
  readonly noCompaction?: boolean;
  /**
   * How often other engines look for something to compact, ms. Ours is told by whoever changes the manifest; given, it
   * says that compaction alone is measured next: by `compactAll`, so there is no scheduler that would begin by itself
   * while the database opens, and merge what is then merged again.
   */
  readonly compactorPollMs?: number;
  /** Compactions begin by themselves although `compactorPollMs` is given. */
  readonly scheduled?: boolean;
  /** Most log objects per second. */
  readonly maxWalPutsPerSecond?: number;
}

/** Store requests so far, by verb, in the driver's names. */
export interface Requests {
  get: number;
  put: number;
  list: number;
  head: number;
  delete: number;
  multipart: number;
  other: number;
}

/** An open database in the driver's shape. */
export interface Contender {
  /** How long `open` took, ms. */
  readonly openMs: number;
  put(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  putDurable(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  batch(keys: readonly Uint8Array[], values: readonly Uint8Array[]): Promise<unknown>;
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  /** Absent when `PHYLLITE_BENCH_SYNC` is 0: for runs too short to bring every block into the cache first. */
  readonly getSync?: (key: Uint8Array) => Uint8Array | undefined;
  /** Counts the rows of `[start, end)`, at most `limit`. */
  scan(
    start: Uint8Array | undefined,
    end: Uint8Array | undefined,
    limit: number,
    reverse: boolean,
  ): Promise<number>;
  /** Memory to durable log. */
  flush(): Promise<void>;
  /** Memory to tables. */
  flushMemtable(): Promise<void>;
  /**
   * Merges everything into one run. Only where compaction alone is measured: at the end of an ingest the others are not
   * asked for that either, and requests are counted until its background work rests.
   */
  readonly compactAll?: () => Promise<void>;
  /** Bytes of tables that compactions made so far. */
  compactedBytes(): number;
  /** Whether a compaction is under way. */
  compacting(): boolean;
  requests(): Requests;
  metrics(): Record<string, number>;
  close(): Promise<void>;
  /** The database itself, for measurements of our own. */
  readonly db: Db;
}

/** A contender that has a store and opens databases in it. */
export interface Opener {
  store(spec: StoreSpec): Promise<void>;
  open(options: ContenderOptions): Promise<Contender>;
}

/** Name in the driver's tables. */
export const name: string = "phyllite";
/** Stores that {@linkcode Opener.store} takes. */
export const stores: readonly string[] = ["memory", "file", "s3"];

const NOT_DURABLE = { durable: false } as const;
/** Rows per array of a scan. */
const SCAN_BATCH = 1000;

const SLOTS: Readonly<Record<string, keyof Requests>> = {
  get: "get",
  getRange: "get",
  getRanges: "get",
  put: "put",
  putIfAbsent: "put",
  copy: "put",
  list: "list",
  head: "head",
  delete: "delete",
  upload: "multipart",
  uploadPart: "multipart",
  uploadComplete: "multipart",
};

/** Adds up what the database says it asked of its stores. */
export function requestsOf(db: Db): Requests {
  const sum: Requests = { get: 0, put: 0, list: 0, head: 0, delete: 0, multipart: 0, other: 0 };
  for (const kinds of Object.values(db.cost().requests)) {
    for (const [kind, count] of Object.entries(kinds)) sum[SLOTS[kind] ?? "other"] += count;
  }
  return sum;
}

function getCached(db: Db, key: Uint8Array): Uint8Array | undefined {
  const value = db.getCached(key);
  if (value === NOT_CACHED) throw new Error("a synchronous read would need I/O: the block is not in the cache");
  return value;
}

/** Adds up what compactions made, which the status tells of those under way only. */
class CompactionCount {
  readonly #db: Db;
  #ended = 0;
  #running: Db["status"]["compactions"] = [];
  /** How often writes began to wait for room. */
  waits = 0;
  #waiting = false;

  constructor(db: Db) {
    this.#db = db;
    db.onStatus((status) => {
      // One that ended has read, and with rows that are all kept also made, what its plan said.
      for (const { id, totalBytes } of this.#running) {
        if (!status.compactions.some((other) => other.id === id)) this.#ended += totalBytes;
      }
      this.#running = status.compactions;
      if (status.backpressure && !this.#waiting) this.waits++;
      this.#waiting = status.backpressure;
    });
    this.#running = db.status.compactions;
  }

  get bytes(): number {
    return this.#db.status.compactions.reduce((sum, { bytesOut }) => sum + bytesOut, this.#ended);
  }
}

/** Whether everything is merged once, by `compactAll`. */
function isCompactedOnce({ compactorPollMs, scheduled }: ContenderOptions): boolean {
  return compactorPollMs !== undefined && scheduled !== true;
}

function contender(db: Db, openMs: number, options: ContenderOptions): Contender {
  const compactions = new CompactionCount(db);
  return {
    openMs,
    db,
    put: (key, value) => db.put(key, value, NOT_DURABLE),
    putDurable: (key, value) => db.put(key, value),
    batch(keys, values) {
      const batch = new WriteBatch();
      for (let i = 0; i < keys.length; i++) batch.put(keys[i]!, values[i]!);
      return db.write(batch, NOT_DURABLE);
    },
    get: (key) => db.get(key),
    ...(process.env["PHYLLITE_BENCH_SYNC"] === "0" ? {} : { getSync: (key: Uint8Array) => getCached(db, key) }),
    async scan(start, end, limit, reverse) {
      const range = { ...(start === undefined ? {} : { gte: start }), ...(end === undefined ? {} : { lt: end }) };
      const scan = db.scan(range, {
        order: reverse ? "descending" : "ascending",
        ...(Number.isFinite(limit) ? { limit } : {}),
      });
      let rows = 0;
      for await (const batch of scan.batches(SCAN_BATCH)) rows += batch.length;
      return rows;
    },
    flush: () => db.flush({ kind: "wal" }),
    flushMemtable: () => db.flush({ kind: "memtable" }),
    ...(isCompactedOnce(options) ? { compactAll: () => db.compact() } : {}),
    compactedBytes: () => compactions.bytes,
    compacting: () => db.status.compactor === "running",
    requests: () => requestsOf(db),
    metrics: () => ({
      "slatedb.compactor.bytes_compacted": compactions.bytes,
      "slatedb.compactor.running_compactions": db.status.compactions.length,
      "slatedb.db.backpressure_count": compactions.waits,
    }),
    close: () => db.close(),
  };
}

/** Where databases of a kind of store lie. */
type Places = (path: string) => Location;

/** The AWS SDK is loaded for S3 only, so that it takes no memory where something else is measured. */
async function placesOf(spec: StoreSpec): Promise<Places> {
  if (spec.kind === "file") return (path) => join(spec.dir, path);
  if (spec.kind === "memory") {
    const store = memoryStore();
    return (path) => ({ store, path });
  }
  const { s3Store } = await import("../src/s3.ts");
  const store = s3Store({
    bucket: "bench",
    endpoint: spec.endpoint,
    region: "us-east-1",
    pathStyle: true,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  return (path) => ({ store, path });
}

/** The driver calls this once per process. */
export function create(): Promise<Opener> {
  let spec: StoreSpec = { kind: "memory", dir: "" };
  let places: Places | undefined = undefined;
  return Promise.resolve({
    async store(wanted) {
      if (!stores.includes(wanted.kind)) throw new Error(`no store of the kind ${wanted.kind}`);
      spec = wanted;
      places = await placesOf(wanted);
    },
    async open(options) {
      if (places === undefined) throw new Error("no store yet");
      const path = options.path ?? "db";
      const settings: OpenOptions = {
        ...(options.l0Bytes === undefined ? {} : { l0SstSizeBytes: options.l0Bytes }),
        ...(options.noCache === true ? { blockCacheBytes: 0 } : {}),
        ...(options.noCompaction === true || isCompactedOnce(options) ? { compactor: false } : {}),
        ...(options.maxWalPutsPerSecond === undefined ? {} : { maxWalPutsPerSecond: options.maxWalPutsPerSecond }),
      };
      if (options.fresh === true && spec.kind === "file") {
        rmSync(join(spec.dir, path), { recursive: true, force: true });
      }
      const started = performance.now();
      const db = await openDb(places(path), settings);
      return contender(db, performance.now() - started, options);
    },
  });
}
