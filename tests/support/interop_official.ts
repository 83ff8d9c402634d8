/**
 * Drives the official SlateDB binding, `@slatedb/uniffi` 0.12.1, on a database folder.
 *
 * The binding is native code, loaded from the folder that `PHYLLITE_INTEROP` names; it loads on Node and Bun. Its store
 * is the folder above the database's, its path is the folder's name. The collector and the compactor only run when asked
 * for, because both change what is looked at. `npx deno task test --interop` runs the tests that need this; those on S3
 * need `--s3` besides.
 *
 * @module
 */
import { basename, dirname, relative } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { hex } from "./bytes.ts";
import type { Bytes, Ttl } from "../../src/db/api.ts";
import { bindingEntry } from "./interop_binding.ts";
import { canRunPrograms } from "./permissions.ts";
import type { S3Place } from "./s3/server.ts";

type Wide = bigint | number;
interface OfficialRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly seq: Wide;
  readonly create_ts: Wide;
  readonly expire_ts: Wide | undefined;
}
interface OfficialWalRow {
  readonly kind: string;
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
  readonly seq: Wide;
  readonly create_ts: Wide | undefined;
  readonly expire_ts: Wide | undefined;
}
interface Pull<A> {
  next(): Promise<A | undefined>;
}
interface Handle {
  readonly seqnum: Wide;
}
interface RawReads {
  scan(range: RawRange): Promise<Pull<OfficialRow>>;
}
interface RawDb extends RawReads {
  put_with_options(key: Uint8Array, value: Uint8Array, put: unknown, write: unknown): Promise<Handle>;
  delete_with_options(key: Uint8Array, write: unknown): Promise<Handle>;
  merge_with_options(key: Uint8Array, value: Uint8Array, merge: unknown, write: unknown): Promise<Handle>;
  write_with_options(batch: RawBatch, write: unknown): Promise<Handle>;
  flush_with_options(options: { readonly flush_type: string }): Promise<void>;
  get_key_value(key: Uint8Array): Promise<OfficialRow | undefined>;
  snapshot(): Promise<RawReads>;
  shutdown(): Promise<void>;
}
interface RawReader extends RawReads {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  shutdown(): Promise<void>;
}
interface RawRange {
  readonly start: Uint8Array | undefined;
  readonly start_inclusive: boolean;
  readonly end: Uint8Array | undefined;
  readonly end_inclusive: boolean;
}
interface RawBatch {
  put_with_options(key: Uint8Array, value: Uint8Array, options: unknown): void;
  merge_with_options(key: Uint8Array, value: Uint8Array, options: unknown): void;
  delete(key: Uint8Array): void;
}
interface RawSettings {
  set(key: string, json: string): void;
}
interface RawBuilder<A> {
  build(): Promise<A>;
  with_merge_operator(operator: unknown): void;
  with_wal_object_store(store: unknown): void;
}
interface Binding {
  readonly DbBuilder: new (path: string, store: unknown) => RawBuilder<RawDb> & {
    with_settings(settings: RawSettings): void;
    with_sst_block_size(size: string): void;
  };
  readonly DbReaderBuilder: new (path: string, store: unknown) => RawBuilder<RawReader> & {
    with_options(options: unknown): void;
    with_checkpoint_id(id: string): void;
  };
  readonly ObjectStore: { resolve(url: string): unknown };
  readonly Settings: { default(): RawSettings };
  readonly Ttl: {
    Default(): unknown;
    NoExpiry(): unknown;
    ExpireAfterTicks(millis: bigint): unknown;
    ExpireAt(millis: bigint): unknown;
  };
  readonly WriteBatch: new () => RawBatch;
  readonly WalReader: new (path: string, store: unknown) => {
    list(from: undefined, to: undefined): Promise<Array<{ id(): Wide; iterator(): Promise<Pull<OfficialWalRow>> }>>;
  };
}

/** A row in a form that `deepEqual` compares well: hex, safe integers, null for "never". */
export interface PlainRow {
  readonly key: string;
  readonly value: string;
  readonly seq: number;
  readonly createTs: number;
  readonly expireTs: number | null;
}

/** A row of the log; no value for a tombstone. */
export interface PlainWalRow {
  readonly kind: "Value" | "Tombstone" | "Merge";
  readonly key: string;
  readonly value: string | null;
  readonly seq: number;
  readonly createTs: number | null;
  readonly expireTs: number | null;
}

/** One operation of a batch. */
export type BatchOp =
  | { readonly op: "put" | "merge"; readonly key: Bytes; readonly value: Bytes; readonly ttl?: Ttl }
  | { readonly op: "delete"; readonly key: Bytes };

/** A snapshot. */
export interface HeldView {
  /** A full ascending scan. */
  rows(): Promise<PlainRow[]>;
}

/** What a script can do with a writer of either engine. Writes answer their sequence number. */
export interface Writer {
  put(key: Bytes, value: Bytes, ttl?: Ttl): Promise<number>;
  delete(key: Bytes): Promise<number>;
  merge(key: Bytes, operand: Bytes, ttl?: Ttl): Promise<number>;
  batch(ops: readonly BatchOp[]): Promise<number>;
  flush(kind: "wal" | "memtable"): Promise<void>;
  /** Takes a snapshot that stays open until the writer closes. */
  hold(): Promise<HeldView>;
  /** A full ascending scan. */
  rows(): Promise<PlainRow[]>;
  get(key: Bytes): Promise<PlainRow | undefined>;
  close(): Promise<void>;
}

/** How a database of the official engine is opened. */
export interface OfficialOptions {
  /** Settings by their official names. */
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly blockSizeBytes?: number;
  /** With the operator that appends operands. */
  readonly merge?: boolean;
  /** Folder above the database's in the separate store of the WAL. */
  readonly walStore?: string;
  /** Whether writes wait until they are durable; true when absent. */
  readonly durable?: boolean;
  /** Folder of the store, above the database's; the one directly above when absent. */
  readonly store?: string;
}

/** Why tests with the official engine are left out here, or false. */
export function officialMissing(): string | false {
  if (!canRunPrograms()) return "needs permission to run programs and native code";
  if (process.env["PHYLLITE_INTEROP"] === undefined) return "run with: deno task test --interop";
  return "Deno" in globalThis ? "the official binding loads on Node and Bun" : false;
}

/** Appends the operand to what is there. */
export function appendOperand(_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array {
  return Buffer.concat([existing ?? new Uint8Array(0), operand]);
}

/** Settings of a quick compactor that acts on `minSources` L0 tables and cuts runs into small tables. */
export function quickCompactor(minSources: number, concurrent: number = 1): Readonly<Record<string, unknown>> {
  return {
    poll_interval: "20ms",
    manifest_update_timeout: "300s",
    max_sst_size: 1024,
    max_concurrent_compactions: concurrent,
    max_fetch_tasks: 4,
    scheduler_options: { min_compaction_sources: `${minSources}`, max_compaction_sources: "8" },
  };
}

/**
 * Settings of a collector that looks every 50 ms and deletes what is `minAgeMillis` old.
 *
 * @param versionsMillis the same for versions of the manifest and of the compactions object. A process that has the
 * database open may rely on a minute of theirs: what it has just seen as newest has no collected successor
 */
export function quickCollector(
  minAgeMillis: number,
  versionsMillis: number = minAgeMillis,
): Readonly<Record<string, unknown>> {
  const every = (age: number) => ({ interval: "50ms", min_age: `${age}ms` });
  return {
    manifest_options: every(versionsMillis),
    compactions_options: every(versionsMillis),
    wal_options: every(minAgeMillis),
    compacted_options: every(minAgeMillis),
  };
}

const EVERYTHING: RawRange = { start: undefined, start_inclusive: true, end: undefined, end_inclusive: false };
const encoder = new TextEncoder();

/** Bytes of a key or value. */
export function bytesOf(value: Bytes): Uint8Array {
  return typeof value === "string" ? encoder.encode(value) : value;
}

let loaded: Promise<Binding> | undefined;

/** The official engine; only when {@linkcode officialMissing} answers false. */
export function binding(): Promise<Binding> {
  loaded ??= import(pathToFileURL(bindingEntry(process.env["PHYLLITE_INTEROP"] ?? "")).href) as Promise<Binding>;
  return loaded;
}

function storeOf(lib: Binding, folder: string): unknown {
  return lib.ObjectStore.resolve(pathToFileURL(folder).href);
}

/** A store of the binding. */
export type OfficialStore = ReturnType<Binding["ObjectStore"]["resolve"]>;

/**
 * The binding's store of a bucket on a server. Everything but the bucket's name it takes from the environment, at this
 * moment, so that stores on several servers can be made one after the other.
 */
export async function officialBucket(place: S3Place): Promise<OfficialStore> {
  const lib = await binding();
  const variables = {
    AWS_ENDPOINT: place.endpoint,
    AWS_ALLOW_HTTP: "true",
    AWS_REGION: place.region,
    AWS_ACCESS_KEY_ID: place.accessKeyId,
    AWS_SECRET_ACCESS_KEY: place.secretAccessKey,
  };
  const before = { ...process.env };
  Object.assign(process.env, variables);
  try {
    return lib.ObjectStore.resolve(`s3://${place.bucket}`);
  } finally {
    for (const name of Object.keys(variables)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}

/** Opens the database in `folder` for writing. */
export async function openOfficial(folder: string, options: OfficialOptions = {}): Promise<Writer> {
  const lib = await binding();
  const above = options.store ?? dirname(folder);
  const walStore = options.walStore === undefined ? undefined : storeOf(lib, options.walStore);
  return await openOfficialAt(storeOf(lib, above), relative(above, folder), options, walStore);
}

/** Opens the database at `path` of a store for writing; what `options` say of stores is not looked at. */
export async function openOfficialAt(
  store: OfficialStore,
  path: string,
  options: OfficialOptions = {},
  walStore?: OfficialStore,
): Promise<Writer> {
  const lib = await binding();
  const builder = new lib.DbBuilder(path, store);
  const settings = lib.Settings.default();
  const all = {
    flush_interval: "2ms",
    manifest_poll_interval: "100ms",
    garbage_collector_options: null,
    compactor_options: null,
    l0_max_ssts: 256,
    ...options.settings,
  };
  for (const [name, value] of Object.entries(all)) settings.set(name, JSON.stringify(value));
  builder.with_settings(settings);
  if (options.blockSizeBytes !== undefined) builder.with_sst_block_size(`Block${options.blockSizeBytes / 1024}Kib`);
  if (options.merge === true) builder.with_merge_operator({ merge: appendOperand });
  if (walStore !== undefined) builder.with_wal_object_store(walStore);
  return new OfficialWriter(lib, await builder.build(), options.durable !== false);
}

/** A reader of the official engine, attached to a database that somebody else writes. */
export interface OfficialReader {
  get(key: Bytes): Promise<string | undefined>;
  rows(): Promise<PlainRow[]>;
  close(): Promise<void>;
}

/** Attaches a reader that looks for news every `pollMillis`, or that stays at a checkpoint. */
export async function openOfficialReader(
  folder: string,
  pollMillis: number,
  merge = false,
  checkpoint?: string,
): Promise<OfficialReader> {
  const store = storeOf(await binding(), dirname(folder));
  return await openOfficialReaderAt(store, basename(folder), pollMillis, merge, checkpoint);
}

/** The same for the database at `path` of a store. */
export async function openOfficialReaderAt(
  store: OfficialStore,
  path: string,
  pollMillis: number,
  merge = false,
  checkpoint?: string,
): Promise<OfficialReader> {
  const lib = await binding();
  const builder = new lib.DbReaderBuilder(path, store);
  builder.with_options({
    manifest_poll_interval_ms: BigInt(pollMillis),
    checkpoint_lifetime_ms: 600_000n,
    max_memtable_bytes: 1_000_000n,
    skip_wal_replay: false,
  });
  if (merge) builder.with_merge_operator({ merge: appendOperand });
  if (checkpoint !== undefined) builder.with_checkpoint_id(checkpoint);
  const reader = await builder.build();
  return {
    get: async (key) => {
      const value = await reader.get(bytesOf(key));
      return value === undefined ? undefined : hex(value);
    },
    rows: () => allRows(reader),
    close: () => reader.shutdown(),
  };
}

/** Every row of every WAL object in a folder, by the official reader of the log. */
export async function officialWal(folder: string): Promise<Map<number, PlainWalRow[]>> {
  return await officialWalAt(storeOf(await binding(), dirname(folder)), basename(folder));
}

/** The same for the database at `path` of a store. */
export async function officialWalAt(store: OfficialStore, path: string): Promise<Map<number, PlainWalRow[]>> {
  const lib = await binding();
  const files = await new lib.WalReader(path, store).list(undefined, undefined);
  const objects = new Map<number, PlainWalRow[]>();
  for (const file of files) {
    const rows: PlainWalRow[] = [];
    const pull = await file.iterator();
    for (let row = await pull.next(); row !== undefined; row = await pull.next()) {
      rows.push({
        kind: row.kind as PlainWalRow["kind"],
        key: hex(row.key),
        value: row.value === undefined ? null : hex(row.value),
        seq: Number(row.seq),
        createTs: row.create_ts === undefined ? null : Number(row.create_ts),
        expireTs: row.expire_ts === undefined ? null : Number(row.expire_ts),
      });
    }
    objects.set(Number(file.id()), rows);
  }
  return objects;
}

async function allRows(reads: RawReads): Promise<PlainRow[]> {
  const rows: PlainRow[] = [];
  const pull = await reads.scan(EVERYTHING);
  for (let row = await pull.next(); row !== undefined; row = await pull.next()) rows.push(plain(row));
  return rows;
}

function plain(row: OfficialRow): PlainRow {
  return {
    key: hex(row.key),
    value: hex(row.value),
    seq: Number(row.seq),
    createTs: Number(row.create_ts),
    expireTs: row.expire_ts === undefined ? null : Number(row.expire_ts),
  };
}

class OfficialWriter implements Writer {
  readonly #lib: Binding;
  readonly #db: RawDb;
  readonly #write: { readonly await_durable: boolean };
  readonly #held: RawReads[] = [];

  constructor(lib: Binding, db: RawDb, durable: boolean) {
    this.#lib = lib;
    this.#db = db;
    this.#write = { await_durable: durable };
  }

  async put(key: Bytes, value: Bytes, ttl?: Ttl): Promise<number> {
    return seqOf(await this.#db.put_with_options(bytesOf(key), bytesOf(value), this.#ttl(ttl), this.#write));
  }

  async delete(key: Bytes): Promise<number> {
    return seqOf(await this.#db.delete_with_options(bytesOf(key), this.#write));
  }

  async merge(key: Bytes, operand: Bytes, ttl?: Ttl): Promise<number> {
    return seqOf(await this.#db.merge_with_options(bytesOf(key), bytesOf(operand), this.#ttl(ttl), this.#write));
  }

  async batch(ops: readonly BatchOp[]): Promise<number> {
    const batch = new this.#lib.WriteBatch();
    for (const op of ops) {
      if (op.op === "put") batch.put_with_options(bytesOf(op.key), bytesOf(op.value), this.#ttl(op.ttl));
      else if (op.op === "merge") batch.merge_with_options(bytesOf(op.key), bytesOf(op.value), this.#ttl(op.ttl));
      else batch.delete(bytesOf(op.key));
    }
    return seqOf(await this.#db.write_with_options(batch, this.#write));
  }

  flush(kind: "wal" | "memtable"): Promise<void> {
    return this.#db.flush_with_options({ flush_type: kind === "wal" ? "Wal" : "MemTable" });
  }

  async hold(): Promise<HeldView> {
    const snapshot = await this.#db.snapshot();
    this.#held.push(snapshot);
    return { rows: () => allRows(snapshot) };
  }

  rows(): Promise<PlainRow[]> {
    return allRows(this.#db);
  }

  async get(key: Bytes): Promise<PlainRow | undefined> {
    const row = await this.#db.get_key_value(bytesOf(key));
    return row === undefined ? undefined : plain(row);
  }

  close(): Promise<void> {
    this.#held.length = 0;
    return this.#db.shutdown();
  }

  #ttl(ttl: Ttl = "default"): { readonly ttl: unknown } {
    const { Ttl: make } = this.#lib;
    if (ttl === "default") return { ttl: make.Default() };
    if (ttl === "none") return { ttl: make.NoExpiry() };
    return {
      ttl: "atMillis" in ttl ? make.ExpireAt(BigInt(ttl.atMillis)) : make.ExpireAfterTicks(BigInt(ttl.afterMillis)),
    };
  }
}

function seqOf(handle: Handle): number {
  return Number(handle.seqnum);
}
