/**
 * Writes many rows fast: in batches of about a megabyte, several of them under way at once.
 *
 * Batches are written in order, and acknowledged in order because their sequence numbers are. The next one is built
 * while earlier ones become durable; at most `BATCHES_IN_FLIGHT` wait, so memory stays bounded whatever the input.
 *
 * @module
 */
import type { Db } from "../db/api.ts";
import { WriteBatch } from "../db/write_batch.ts";
import type { ImportRow } from "./import_sources.ts";

/** Bytes after which a batch is written. */
const BATCH_BYTES = 1024 * 1024;
/** Rows after which a batch is written. */
const BATCH_ROWS = 1000;
/** Batches that may wait to become durable. */
const BATCHES_IN_FLIGHT = 4;

/** What became durable together. */
export interface DurableBatch {
  readonly keys: readonly Uint8Array[];
  /** Bytes of keys and values. */
  readonly bytes: number;
  readonly seq: number;
}

/** How a writer cuts batches. */
export interface BatchWriterOptions {
  /** Bytes of keys and values after which a batch is written. Default 1 MiB. */
  readonly batchBytes?: number;
  /** Rows after which a batch is written. Default 1000. */
  readonly batchRows?: number;
  /** Awaited before each batch is written. */
  readonly beforeBatch?: () => Promise<void>;
}

/** Collects rows into batches and reports each batch when it is durable. */
export class BatchWriter {
  readonly #db: Db;
  readonly #onDurable: (batch: DurableBatch) => void | Promise<void>;
  readonly #options: BatchWriterOptions;
  readonly #inFlight: Array<Promise<void>> = [];
  #batch: WriteBatch = new WriteBatch();
  #keys: Uint8Array[] = [];
  #bytes = 0;

  constructor(
    db: Db,
    onDurable: (batch: DurableBatch) => void | Promise<void>,
    options: BatchWriterOptions = {},
  ) {
    this.#db = db;
    this.#onDurable = onDurable;
    this.#options = options;
  }

  /** Adds a row; waits while too many batches are under way. */
  async add(row: ImportRow): Promise<void> {
    const { key, value, expiresAt } = row;
    if (value === undefined) this.#batch.delete(key);
    else if (expiresAt === undefined) this.#batch.put(key, value);
    else this.#batch.put(key, value, { ttl: { atMillis: expiresAt } });
    this.#keys.push(key);
    this.#bytes += key.length + (value?.length ?? 0);
    const { batchBytes = BATCH_BYTES, batchRows = BATCH_ROWS } = this.#options;
    if (this.#bytes >= batchBytes || this.#keys.length >= batchRows) await this.#write();
  }

  /** Writes what is left and waits until everything is durable and reported. */
  async finish(): Promise<void> {
    if (this.#keys.length > 0) await this.#write();
    while (this.#inFlight.length > 0) await this.#inFlight.shift();
  }

  async #write(): Promise<void> {
    await this.#options.beforeBatch?.();
    const keys = this.#keys;
    const bytes = this.#bytes;
    const before = this.#inFlight.at(-1) ?? Promise.resolve();
    const written = this.#db.write(this.#batch);
    // Reported one after another; a failure is met where the promise is awaited.
    const reported = Promise.all([written, before]).then(([{ seq }]) => this.#onDurable({ keys, bytes, seq }));
    reported.catch(() => {});
    this.#inFlight.push(reported);
    this.#batch = new WriteBatch();
    this.#keys = [];
    this.#bytes = 0;
    if (this.#inFlight.length >= BATCHES_IN_FLIGHT) await this.#inFlight.shift();
  }
}
