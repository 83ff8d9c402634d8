/**
 * Our engine behind the same face as the official one, and what tests ask of the files that either leaves.
 *
 * @module
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { open, WriteBatch } from "../../mod.ts";
import type { Bytes, Db, Entry, Snapshot, Ttl } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import { FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, type Manifest } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { fileStore } from "../../src/store/file_store.ts";
import { hex } from "./bytes.ts";
import { makeFolder } from "./folders.ts";
import {
  appendOperand,
  type BatchOp,
  bytesOf,
  type HeldView,
  type PlainRow,
  type PlainWalRow,
  type Writer,
} from "./interop_official.ts";
import { assert } from "./suite.ts";

/** How a database of ours is opened for these tests. */
export interface OursOptions {
  readonly open?: OpenOptions;
  readonly merge?: boolean;
  /** Folder above the database's in the separate store of the WAL. */
  readonly walStore?: string;
  /** Whether writes wait until they are durable; true when absent. */
  readonly durable?: boolean;
}

/** A temporary folder with a database folder `db` in it that is not there yet; `done` removes all of it. */
export interface Place {
  readonly root: string;
  readonly db: string;
  readonly done: () => void;
}

/** Makes a {@linkcode Place}. */
export function makePlace(): Place {
  const { path: root, dispose: done } = makeFolder();
  return { root, db: join(root, "db"), done };
}

/** Runs `test` in a place that is gone afterwards. */
export async function withPlace(test: (place: Place) => Promise<void>): Promise<void> {
  const place = makePlace();
  try {
    await test(place);
  } finally {
    place.done();
  }
}

/** Copies everything beside and below `folder` into a new place; the answer's `db` is the copy of `folder`. */
export function copyPlace(folder: string): Place {
  const place = makePlace();
  cpSync(dirname(folder), place.root, { recursive: true });
  return { ...place, db: join(place.root, basename(folder)) };
}

/**
 * Opens our engine on `folder`, showing expired rows as the official engine does. It neither compacts nor collects unless
 * the options say so: both change what is looked at.
 */
export async function openOurs(folder: string, options: OursOptions = {}): Promise<OursWriter> {
  mkdirSync(dirname(folder), { recursive: true });
  const walStore = options.walStore;
  if (walStore !== undefined) mkdirSync(walStore, { recursive: true });
  const db = await open({ store: fileStore(dirname(folder)), path: basename(folder) }, {
    ttl: "slatedb",
    compactor: false,
    garbageCollector: false,
    ...(options.merge === true ? { mergeOperator: appendOperand } : {}),
    ...(walStore === undefined ? {} : { wal: { store: fileStore(walStore) } }),
    ...options.open,
  });
  return new OursWriter(db, options.durable !== false);
}

/** Our engine behind the common face. */
export class OursWriter implements Writer {
  readonly db: Db;
  readonly #durable: boolean;
  readonly #held: Snapshot[] = [];

  constructor(db: Db, durable: boolean) {
    this.db = db;
    this.#durable = durable;
  }

  async put(key: Bytes, value: Bytes, ttl: Ttl = "default"): Promise<number> {
    return (await this.db.put(key, value, { ttl, durable: this.#durable })).seq;
  }

  async delete(key: Bytes): Promise<number> {
    return (await this.db.delete(key, { durable: this.#durable })).seq;
  }

  async merge(key: Bytes, operand: Bytes, ttl: Ttl = "default"): Promise<number> {
    return (await this.db.merge(key, operand, { ttl, durable: this.#durable })).seq;
  }

  async batch(ops: readonly BatchOp[]): Promise<number> {
    const batch = new WriteBatch();
    for (const op of ops) {
      if (op.op === "delete") batch.delete(op.key);
      else if (op.op === "put") batch.put(op.key, op.value, { ttl: op.ttl ?? "default" });
      else batch.merge(op.key, op.value, { ttl: op.ttl ?? "default" });
    }
    return (await this.db.write(batch, { durable: this.#durable })).seq;
  }

  flush(kind: "wal" | "memtable"): Promise<void> {
    return this.db.flush({ kind });
  }

  async hold(): Promise<HeldView> {
    const snapshot = await this.db.snapshot();
    this.#held.push(snapshot);
    return { rows: async () => (await snapshot.scan().toArray()).map(plainEntry) };
  }

  async rows(): Promise<PlainRow[]> {
    return (await this.db.scan().toArray()).map(plainEntry);
  }

  async rowsDescending(): Promise<PlainRow[]> {
    return (await this.db.scan({}, { order: "descending" }).toArray()).map(plainEntry);
  }

  async get(key: Bytes): Promise<PlainRow | undefined> {
    const entry = await this.db.getEntry(key);
    return entry === undefined ? undefined : plainEntry(entry);
  }

  close(): Promise<void> {
    for (const snapshot of this.#held) snapshot.release();
    return this.db.close();
  }
}

/** An entry in the form that both engines' answers are compared in. */
export function plainEntry(entry: Entry): PlainRow {
  return {
    key: hex(entry.key),
    value: hex(entry.value),
    seq: entry.seq,
    createTs: entry.createdAt,
    expireTs: entry.expiresAt ?? null,
  };
}

/** Every row of every WAL object in `folder`, by our codec. */
export function ourWal(folder: string): Map<number, PlainWalRow[]> {
  const objects = new Map<number, PlainWalRow[]>();
  const wal = join(folder, "wal");
  for (const name of existsSync(wal) ? readdirSync(wal).sort() : []) {
    const list: PlainWalRow[] = [];
    const rows = new WalRows(new Uint8Array(readFileSync(join(wal, name))));
    while (rows.next()) {
      const tombstone = (rows.flags & FLAG_TOMBSTONE) !== 0;
      list.push({
        kind: tombstone ? "Tombstone" : (rows.flags & FLAG_MERGE) !== 0 ? "Merge" : "Value",
        key: hex(rows.keyBytes.subarray(rows.keyStart, rows.keyEnd)),
        value: tombstone ? null : hex(rows.valueBytes.subarray(rows.valueStart, rows.valueEnd)),
        seq: rows.seq,
        createTs: rows.createTs,
        expireTs: (rows.flags & FLAG_EXPIRE) === 0 ? null : rows.expireTs,
      });
    }
    objects.set(Number.parseInt(name), list);
  }
  return objects;
}

/** The stored manifest versions, oldest first. */
export function manifests(folder: string): Manifest[] {
  const at = join(folder, "manifest");
  return readdirSync(at).filter((name) => name.endsWith(".manifest")).sort()
    .map((name) => decodeManifest(new Uint8Array(readFileSync(join(at, name)))).manifest);
}

/** The newest stored manifest. */
export function newestManifest(folder: string): Manifest {
  return manifests(folder).at(-1)!;
}

/** Fails unless both writers answer the same: scan, and gets of every row, of `more` and of keys that are not there. */
export async function assertSameAnswers(one: Writer, other: Writer, more: Iterable<Bytes> = []): Promise<PlainRow[]> {
  const rows = await one.rows();
  assert.deepEqual(await other.rows(), rows, "the scans differ");
  const keys = new Set(rows.map((row) => row.key));
  for (const key of more) keys.add(hex(bytesOf(key)));
  for (const row of rows.slice(0, 20)) keys.add(row.key + "00");
  keys.add("00").add("ff").add("ffffffff01");
  for (const key of keys) {
    const bytes = Buffer.from(key, "hex");
    const found = await one.get(bytes);
    assert.deepEqual(found, rows.find((row) => row.key === key), `get and scan of one engine differ at ${key}`);
    assert.deepEqual(await other.get(bytes), found, `the gets differ at ${key}`);
  }
  return rows;
}
