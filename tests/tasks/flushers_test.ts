import { open } from "../../mod.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { FLAG_TOMBSTONE, type Manifest } from "../../src/format/types.ts";
import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, parseNumberedName, walPath } from "../../src/format/paths.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { faultyStore, type LoggedRequest } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { Closed, InvalidArgument } from "../../src/errors.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

const puts = (log: ReadonlyArray<LoggedRequest>, folder: string) =>
  log.filter((request) => request.op === "putIfAbsent" && request.path.startsWith(`${folder}/`));

/** Ids of the stored WAL objects, ascending. */
const walIds = (store: MemoryStore) =>
  store.objects().filter((path) => path.startsWith("wal/")).map((path) => parseNumberedName(path)!);

function newestManifest(store: MemoryStore): Manifest {
  return decodeManifest(store.peek(store.objects().filter((path) => path.startsWith("manifest/")).at(-1)!)!).manifest;
}

/** An open database on a slow store whose requests are logged. */
async function slowDb(options: Parameters<typeof open>[1] = {}) {
  const clock = virtualClock(1_000);
  const inner = memoryStore();
  const store = faultyStore(inner);
  const db = await open({ store, path: "" }, { clock, flushIntervalMillis: null, ...options });
  return { clock, inner, store, db };
}

describe("WAL flusher", () => {
  it("W1 and W2 rows lie in sequence order in objects whose ids have no holes", async () => {
    const { clock, inner, store, db } = await slowDb({ flushIntervalMillis: 10 });
    store.controls.setLatency(7);
    for (let i = 0; i < 60; i++) {
      db.put(`k${(i * 7) % 60}`, `${i}`, { durable: i % 5 === 0 }).catch(() => {});
      if (i % 3 === 0) await clock.advance(4);
    }
    await clock.advance(1000);
    await Promise.all([db.close(), clock.advance(1000)]);
    const ids = inner.objects().filter((path) => path.startsWith("wal/"));
    assert.deepEqual(ids, ids.map((_, i) => walPath("", i + 1)));
    const seqs: number[] = [];
    for (const path of ids) for (const rows = new WalRows(inner.peek(path)!); rows.next();) seqs.push(rows.seq);
    assert.deepEqual(seqs, Array.from({ length: 60 }, (_, i) => i + 1));
  });

  it("W2 the next object is put only after the one before is stored", async () => {
    const { clock, store, db } = await slowDb();
    store.controls.setLatency(50);
    const first = db.put("a", "1");
    await clock.advance(10);
    const second = db.put("b", "1");
    await clock.advance(39);
    assert.equal(puts(store.controls.log, "wal").length, 2, "the fence and the first object");
    await clock.advance(1);
    await first;
    assert.equal(puts(store.controls.log, "wal").length, 3);
    await clock.advance(50);
    await second;
    await Promise.all([db.close(), clock.advance(1000)]);
  });

  it("W4 and S2 nothing counts as durable before its object is stored", async () => {
    const { clock, inner, store, db } = await slowDb();
    const seen: Array<[number, number]> = [];
    db.onStatus((status) => seen.push([status.durableSeq, status.lastSeq]));
    store.controls.setLatency(50);
    let acknowledged = false;
    const write = db.put("a", "1").then(() => acknowledged = true);
    await clock.advance(49);
    assert.equal(acknowledged, false);
    assert.equal(db.status.durableSeq, 0);
    assert.equal(text(await db.get("a", { durability: "durable" })), undefined);
    await clock.advance(1);
    await write;
    assert.ok(inner.peek(walPath("", 2)) !== undefined);
    assert.ok(seen.length > 0 && seen.every(([durable, last]) => durable <= last));
    await Promise.all([db.close(), clock.advance(1000)]);
  });

  it("F2 an object of somebody else at the next id fences the writer before it acknowledges", async () => {
    const { inner, db } = await slowDb();
    inner.plant(walPath("", 2), new Uint8Array([1, 2, 3]));
    await assert.rejects(db.put("a", "1"), (error) => error instanceof Closed && error.reason === "fenced");
    assert.equal(db.status.closeReason, "fenced");
    await assert.rejects(db.close(), Closed);
  });

  it("W4 a writer that slept through its succession acknowledges nothing, although its id is free again", async () => {
    const { clock, inner, db: old } = await slowDb();
    await old.put("a", "old");
    const successor = await open({ store: inner, path: "" }, { clock });
    await successor.put("a", "new");
    await successor.flush({ kind: "memtable" });
    await successor.close();
    for (const path of inner.objects()) if (path.startsWith("wal/")) inner.remove(path);
    await clock.advance(3_600_000);
    await assert.rejects(old.put("a", "zombie"), (error) => error instanceof Closed && error.reason === "fenced");
    const check = await open({ store: inner, path: "" }, { clock });
    assert.equal(text(await check.get("a")), "new");
    await check.close();
  });
});

describe("memtable flusher", () => {
  it("M2 and L1 a manifest names a table only after it is stored, oldest first, however uploads overtake each other", async () => {
    const { clock, inner, store, db } = await slowDb({ l0SstSizeBytes: 500, l0FlushParallelism: 4, compactor: false });
    store.controls.setLatency(5);
    for (const [i, millis] of [400, 10, 200, 50, 300, 5].entries()) {
      store.controls.addRules({ prefix: "compacted/", nth: i + 1, fault: { kind: "delay", millis } });
    }
    const named: string[][] = [];
    for (let i = 0; i < 24; i++) {
      db.put(`k${i % 10}`, `${i}${"x".repeat(80)}`, { durable: false }).catch(() => {});
    }
    for (let turn = 0; turn < 200; turn++) {
      await clock.advance(10);
      const newest = inner.objects().filter((path) => path.startsWith("manifest/")).at(-1)!;
      const { manifest } = decodeManifest(inner.peek(newest)!);
      for (const view of manifest.l0) assert.ok(inner.peek(`compacted/${view.sstId}.sst`), "named but not stored");
      named.push(manifest.l0.map((view) => view.sstId));
    }
    for (let i = 1; i < named.length; i++) {
      assert.deepEqual(
        named[i]!.slice(named[i]!.length - named[i - 1]!.length),
        named[i - 1],
        "added at the front only",
      );
    }
    const last = named.at(-1)!;
    assert.ok(last.length >= 3, `only ${last.length} tables`);
    assert.deepEqual([...last].sort().reverse(), last, "ids rise in the order of publication");
    await Promise.all([db.close(), clock.advance(10_000)]);
  });

  it("L1 a table waits for the WAL: none is published with rows that a crash could lose", async () => {
    const { clock, inner, store, db } = await slowDb();
    store.controls.addRules({ op: "putIfAbsent", prefix: "wal/", nth: 1, fault: { kind: "delay", millis: 500 } });
    db.put("a", "1", { durable: false }).catch(() => {});
    const flushed = db.flush({ kind: "memtable" });
    await clock.advance(499);
    const manifestsBefore = inner.objects().filter((path) => path.startsWith("manifest/")).length;
    assert.equal(db.status.l0Count, 0);
    await clock.advance(10);
    await flushed;
    assert.equal(inner.objects().filter((path) => path.startsWith("manifest/")).length, manifestsBefore + 1);
    await Promise.all([db.close(), clock.advance(1000)]);
  });

  it("V1, V2 and L2 every read during a flush finds every row exactly once", async () => {
    const clock = virtualClock(1_000);
    const store = faultyStore(memoryStore());
    const concat = (_key: Uint8Array, base: Uint8Array | undefined, operand: Uint8Array) =>
      new Uint8Array([...(base ?? []), ...operand]);
    const db = await open({ store, path: "" }, { clock, flushIntervalMillis: null, mergeOperator: concat });
    await db.put("m", "a");
    const early = db.scan().iterator();
    store.controls.addRules({ op: "putIfAbsent", rate: 1, fault: { kind: "delay", millis: 20 } });
    for (const operand of ["b", "c", "d"]) {
      const [merged] = [db.merge("m", operand), await clock.advance(100)];
      await merged;
      const flushed = db.flush({ kind: "memtable" });
      for (let turn = 0; turn < 20; turn++) {
        await clock.advance(5);
        const value = text(await db.get("m"));
        assert.equal(value?.at(-1), operand);
        assert.equal(value?.length, operand.charCodeAt(0) - 96, `an operand counted twice or not at all: ${value}`);
      }
      await flushed;
    }
    assert.equal(text((await early.next())?.value), "a", "a view taken before does not change");
    await Promise.all([db.close(), clock.advance(1000)]);
  });
});

describe("recovery", () => {
  it("R1 a batch lies in one memtable, however small memtables are and wherever the log is cut", async () => {
    const inner = memoryStore();
    const clock = virtualClock(1_000);
    const big = await open({ store: inner, path: "" }, { clock, flushIntervalMillis: null });
    const { WriteBatch } = await import("../../mod.ts");
    for (let i = 0; i < 6; i++) {
      const batch = new WriteBatch();
      for (let j = 0; j < 5; j++) batch.put(`k${j}`, `${i}${"x".repeat(60)}`);
      await big.write(batch);
    }
    await big.close();
    const store = faultyStore(inner);
    const db = await open({ store, path: "" }, { clock, l0SstSizeBytes: 150, maxUnflushedBytes: 100_000 });
    await db.flush({ kind: "memtable" });
    const { l0 } = await db.tables();
    assert.ok(l0.length > 1);
    for (const table of l0) assert.equal(table.entries % 5, 0, "a table holds part of a batch");
    await db.close();
  });

  it("F3 the fence lies above a table published and above a row stored while the database was being taken over", async () => {
    const inner = memoryStore();
    const clock = virtualClock(1_000);
    const old = await open({ store: inner, path: "" }, { clock, flushIntervalMillis: null });
    await old.put("a", "1");
    const store = faultyStore(inner);
    const delay = { kind: "delay", millis: 100 } as const;
    store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", nth: 1, fault: delay });
    store.controls.addRules({ op: "list", prefix: "wal/", nth: 1, fault: delay });
    const opening = open({ store, path: "" }, { clock, flushIntervalMillis: null });
    await clock.advance(50); // the manifest was read, the claim is on its way
    await old.flush({ kind: "memtable" });
    await clock.advance(100); // the claim met the published table and was made again; the WAL is to be listed
    await old.put("b", "2");
    await clock.advance(1000);
    const db = await opening;
    const { replayAfterWalId, writerEpoch } = newestManifest(inner);
    assert.equal(replayAfterWalId, 2, "the table was published");
    assert.equal(writerEpoch, 2);
    assert.deepEqual(walIds(inner), [1, 2, 3, 4], "fence, a, b, fence");
    assert.ok(walIds(inner).at(-1)! > replayAfterWalId);
    assert.equal(new WalRows(inner.peek(walPath("", 4))!).next(), false, "the last one is the fence");
    assert.equal(text(await db.get("b")), "2", "acknowledged before the fence");
    assert.equal(text(await db.get("a")), "1");
    await assert.rejects(old.put("c", "3"), (error) => error instanceof Closed && error.reason === "fenced");
    await db.close();
  });

  it("F3 a fence that a replay boundary has overtaken meanwhile is put again, above it", async () => {
    const inner = memoryStore();
    const clock = virtualClock(1_000);
    const first = await open({ store: inner, path: "" }, { clock });
    await first.put("a", "1");
    await first.flush({ kind: "memtable" });
    await first.close();
    const store = faultyStore(inner);
    store.controls.addRules({ op: "list", prefix: "wal/", nth: 1, fault: { kind: "delay", millis: 100 } });
    const opening = open({ store, path: "" }, { clock, flushIntervalMillis: null });
    await clock.advance(50); // the epoch is claimed, the WAL is to be listed
    const manifest = newestManifest(inner);
    const next = inner.objects().filter((path) => path.startsWith("manifest/")).length + 1;
    inner.plant(manifestPath("", next), encodeManifest({ ...manifest, replayAfterWalId: 10, walIdLastSeen: 10 }));
    await clock.advance(1000);
    const db = await opening;
    assert.equal(newestManifest(inner).replayAfterWalId, 10);
    assert.equal(walIds(inner).at(-1), 11);
    await db.put("b", "2");
    assert.equal(walIds(inner).at(-1), 12);
    await db.close();
  });

  it("A2 a refused write leaves no trace: the next one takes its number", async () => {
    const inner = memoryStore();
    let db = await open({ store: inner, path: "" }, { mergeOperator: () => "not bytes" as unknown as Uint8Array });
    const { WriteBatch } = await import("../../mod.ts");
    const bad = new WriteBatch().put("k", "base").merge("k", "operand");
    await assert.rejects(db.write(bad), (error) => error instanceof InvalidArgument);
    await assert.rejects(db.put("", "x"), InvalidArgument);
    assert.equal((await db.put("a", "1")).seq, 1);
    await db.close();
    db = await open({ store: inner, path: "" });
    assert.equal((await db.delete("a")).seq, 2);
    const row = new WalRows(inner.peek(inner.objects().filter((path) => path.startsWith("wal/")).at(-1)!)!);
    assert.ok(row.next() && (row.flags & FLAG_TOMBSTONE) !== 0);
    await db.close();
  });
});
