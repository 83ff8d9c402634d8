import { Effect } from "effect";
import { DataError, type Db, type MergeFunction, openReader, WriteBatch } from "../../mod.ts";
import { readerFace } from "../../src/db/promise_reader.ts";
import { openReaderAt } from "../../src/db/reader.ts";
import { resolveReaderOptions } from "../../src/db/reader_options.ts";
import { tablePath, walPath } from "../../src/format/paths.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";

const POLL = 10_000;

/** A world whose readers' store refuses every change. */
function readOnly(): ReaderWorld {
  const world = new ReaderWorld({ blockSizeBytes: 1024 });
  const fault = { kind: "before", reason: "permission" } as const;
  for (const op of ["put", "putIfAbsent", "delete", "copy", "upload"] as const) {
    world.readerStore.controls.addRules({ op, rate: 1, fault });
  }
  return world;
}

const key = (i: number) => `k${1000 + i}`;

async function fill(world: ReaderWorld, db: Db, rows: number, value: string): Promise<void> {
  for (let i = 0; i < rows; i++) await db.put(key(i), value + "v".repeat(90), { durable: false });
  await world.get(db.flush({ kind: "memtable" }));
}

describe("openReader, follow", () => {
  it("follows writes, flushes and compactions on a store that takes no write", async () => {
    const world = readOnly();
    const db = await world.open();
    const reader = await world.reader({ mode: "follow" });
    for (let round = 0; round < 6; round++) {
      await world.put(db, { a: `${round}` });
      if (round % 2 === 1) await world.get(db.flush({ kind: "memtable" }));
      if (round === 3) world.compact(true);
      await world.clock.advance(POLL);
      assert.equal(await world.value(reader, "a"), `${round}`);
      assert.equal(reader.status.seq, round + 1);
    }
    assert.equal(reader.status.checkpointId, undefined);
    assert.deepEqual(world.manifest.checkpoints, []);
    world.asked();
    await world.clock.advance(POLL);
    assert.deepEqual(world.asked().map((request) => request.split(" ")[0]), ["get", "get"]);
    await world.get(reader.close());
    assert.deepEqual(world.asked(), []);
    assert.deepEqual(world.readerStore.controls.struck(), {});
    await world.get(db.close());
  });

  it("answers a get, a scan that has not begun and getMany from the newer state when a table was collected", async () => {
    for (const read of ["get", "getMany", "scan"] as const) {
      const world = readOnly();
      const db = await world.open();
      await fill(world, db, 100, "old ");
      const reader = await world.reader({ mode: "follow", blockCacheBytes: 0 });
      await fill(world, db, 100, "new ");
      world.compact(true);
      const scan = reader.scan();
      const values = {
        get: async () => [await reader.get(key(7))],
        getMany: () => reader.getMany([key(7), key(70)]),
        scan: async () => (await scan.toArray()).map((row) => row.value),
      };
      const found = await world.get(values[read]());
      assert.ok(found.length > 0);
      for (const value of found) assert.equal(text(value)!.slice(0, 4), "new ");
      assert.equal(reader.status.seq, 200);
      await world.get(reader.close());
      await world.get(db.close());
    }
  });

  it("fails a scan and a snapshot that compaction has passed, and never answers them wrong", async () => {
    const world = readOnly();
    const db = await world.open();
    await fill(world, db, 600, "old ");
    const reader = await world.reader({ mode: "follow", blockCacheBytes: 0 });
    const snapshot = await world.get(reader.snapshot());
    const scan = reader.scan({}, { readAheadBytes: 0 }).iterator();
    for (let i = 0; i < 3; i++) assert.equal(text((await world.get(scan.next()))?.key), key(i));
    await fill(world, db, 600, "new ");
    world.compact(true);
    await world.clock.advance(POLL);
    const drained = async () => {
      for (let row = await scan.next(); row !== undefined; row = await scan.next()) {
        assert.equal(text(row.value)!.slice(0, 4), "old ");
      }
    };
    const get = () => snapshot.get(key(500));
    for (const read of [drained, get, () => snapshot.scan().toArray(), get]) {
      const error = await world.error(read());
      assert.ok(error instanceof DataError && error.reason === "view-expired", String(error));
      assert.match(error.message, /from 1200 on, this read needs 600/);
    }
    assert.equal(text(await world.get(reader.get(key(500))))?.slice(0, 4), "new ");
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("goes on at the same number on the newer state while that is protected", async () => {
    const world = readOnly();
    const db = await world.open();
    await fill(world, db, 600, "old ");
    const reader = await world.reader({ mode: "follow", blockCacheBytes: 0 });
    const snapshot = await world.get(reader.snapshot());
    const scan = reader.scan({}, { readAheadBytes: 0 }).iterator();
    await world.get(scan.next());
    await world.put(db, { [key(1)]: "new", [key(500)]: "new" });
    world.compact(true);
    await world.clock.advance(POLL);
    let rows = 1;
    for (let row = await world.get(scan.next()); row !== undefined; row = await world.get(scan.next()), rows++) {
      assert.equal(text(row.value)!.slice(0, 4), "old ");
    }
    assert.equal(rows, 600);
    assert.equal((await world.value(snapshot, key(500)))!.slice(0, 4), "old ");
    assert.equal(await world.value(reader, key(500)), "new");
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("a table that is really lost is told as such", async () => {
    const world = readOnly();
    const db = await world.open();
    await fill(world, db, 10, "old ");
    const reader = await world.reader({ mode: "follow" });
    world.inner.remove(tablePath("", world.manifest.l0[0]!.sstId));
    const error = await world.error(reader.get(key(1)));
    assert.ok(error instanceof DataError && error.reason === "missing-object", String(error));
    await world.get(reader.close());
    await world.get(db.close());
  });
});

describe("a reader's replay of the log", () => {
  for (const mode of ["managed", "follow"] as const) {
    it(`goes on behind WAL objects that were flushed and collected between polls, ${mode}`, async () => {
      const world = new ReaderWorld();
      const db = await world.open();
      await world.put(db, { a: "1", b: "1" });
      const reader = await world.reader({ mode });
      await world.put(db, { a: "2", b: "2", c: "2" });
      await world.get(db.flush({ kind: "memtable" }));
      await world.put(db, { a: "3" });
      for (let id = 1; id < world.manifest.replayAfterWalId; id++) world.inner.remove(walPath("", id));
      await world.clock.advance(POLL);
      assert.deepEqual(await world.rows(reader), { a: "3", b: "2", c: "2" });
      assert.equal(reader.status.seq, 6);
      await world.get(reader.close());
      await world.get(db.close());
    });

    it(`shows nothing of a stray object that a zombie put into the collected past, ${mode}`, async () => {
      const world = new ReaderWorld();
      const first = await world.open();
      await world.put(first, { a: "1" });
      const reader = await world.reader({ mode });
      // The successor fences at the zombie's next id, writes and flushes; a collector takes fence and log away.
      const second = await world.open();
      await world.put(second, { a: "2" });
      await world.get(second.flush({ kind: "memtable" }));
      await world.put(second, { b: "2" });
      const { replayAfterWalId } = world.manifest;
      for (let id = 1; id <= replayAfterWalId; id++) world.inner.remove(walPath("", id));
      first.put("zombie", "never", { durable: false }).catch(() => {});
      first.put("a", "zombie").catch(() => {});
      await world.clock.advance(5);
      assert.ok(world.paths("wal").some((path) => path <= walPath("", replayAfterWalId)), "the zombie's put succeeds");
      await world.clock.advance(POLL);
      assert.deepEqual(await world.rows(reader), { a: "2", b: "2" });
      assert.equal(await world.value(reader, "zombie"), undefined);
      const late = await world.reader({ mode });
      assert.deepEqual(await world.rows(late), { a: "2", b: "2" });
      await world.get(late.close());
      await world.get(reader.close());
      await world.get(second.close());
    });
  }

  it("does not believe a stray that took its name between two of its requests", async () => {
    const world = new ReaderWorld();
    const first = await world.open();
    await world.put(first, { a: "1" });
    const past = world.inner.snapshot();
    const stray = walPath("", 3);
    await world.put(first, { a: "ghost" });
    const ghost = world.inner.peek(stray)!;
    world.inner.restore(past);
    const second = await world.open();
    await world.put(second, { a: "2" });
    await world.get(second.flush({ kind: "memtable" }));
    const { replayAfterWalId } = world.manifest;
    assert.ok(replayAfterWalId > 3);
    for (let id = 1; id <= replayAfterWalId; id++) world.inner.remove(walPath("", id));
    world.inner.plant(stray, ghost);
    const present = world.inner.snapshot();
    // Whichever request of a look the world changes before, the ghost is not shown.
    for (let turn = 0; turn < 4; turn++) {
      world.inner.restore(past);
      let left = Infinity;
      const store = {
        ...world.inner,
        get: (path: string) => {
          if (left-- === 0) world.inner.restore(present);
          return world.inner.get(path);
        },
        list: world.inner.list,
      };
      const reader = await world.get(openReader({ store, path: "" }, { clock: world.clock, mode: "follow" }));
      assert.deepEqual(await world.rows(reader), { a: "1" });
      left = turn;
      await world.get(reader.refresh());
      const seen = await world.rows(reader);
      assert.ok(seen["a"] === "1" || seen["a"] === "2", JSON.stringify(seen));
      world.inner.restore(present);
      await world.get(reader.refresh());
      assert.deepEqual(await world.rows(reader), { a: "2" });
      await world.get(reader.close());
    }
    await world.get(second.close());
  });

  it("takes empty and zero-byte objects for no rows, and reads on behind them", async () => {
    const world = new ReaderWorld();
    const first = await world.open();
    await world.put(first, { a: "1" });
    const reader = await world.reader();
    const second = await world.open();
    await world.put(second, { b: "1" });
    const fence = world.paths("wal").at(-2)!;
    world.inner.plant(fence, new Uint8Array(0));
    await world.clock.advance(POLL);
    assert.deepEqual(await world.rows(reader), { a: "1", b: "1" });
    await world.get(reader.close());
    await world.get(second.close());
  });

  for (const maxMemtableBytes of [300, 1 << 20]) {
    it(`folds no operand twice when part of a memtable of ${maxMemtableBytes} bytes is in a table`, async () => {
      const mergeOperator: MergeFunction = (_, old, operand) => concat(old, operand);
      const world = new ReaderWorld({ mergeOperator });
      const db = await world.open();
      const options = resolveReaderOptions({ maxMemtableBytes, mergeOperator, clock: world.clock });
      const opened = await world.get(Effect.runPromise(openReaderAt({ store: world.inner, root: "" }, options)));
      const reader = readerFace(opened);
      const slow = { kind: "delay", millis: 500 } as const;
      world.store.controls.addRules({ op: "putIfAbsent", prefix: "compacted/", rate: 1, fault: slow });
      let expected = "";
      let most = 0;
      const agrees = async () => {
        await world.get(reader.refresh());
        assert.equal(await world.value(reader, "m"), expected);
        most = Math.max(most, opened.host.view(opened.reader.spec(undefined)).memtables.length);
      };
      for (let round = 0; round < 30; round++) {
        // While the table is on its way, the reader meets further rows in the log.
        const flushed = round % 7 === 3 ? db.flush({ kind: "memtable" }) : Promise.resolve();
        const operand = String.fromCharCode(97 + round % 26);
        await world.get(db.merge("m", operand));
        expected += operand;
        if (round % 3 === 0) await agrees();
        await world.get(flushed);
        if (round % 7 === 3) await agrees();
      }
      assert.equal(most > 1, maxMemtableBytes === 300, "memtables are cut at that size");
      await world.get(reader.close());
      await world.get(db.close());
    });
  }

  it("never shows half of a batch, however small its memtables are", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader({ maxMemtableBytes: 1 });
    for (let round = 0; round < 5; round++) {
      const batch = new WriteBatch();
      for (let i = 0; i < 50; i++) batch.put(`k${i}`, `${round}`);
      await world.get(db.write(batch));
      await world.get(reader.refresh());
      assert.equal(new Set(Object.values(await world.rows(reader))).size, 1);
      assert.equal(await world.value(reader, "k49"), `${round}`);
    }
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("reads hundreds of objects with few requests beside theirs", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader();
    for (let i = 0; i < 300; i++) await world.put(db, { [`k${i}`]: "v" });
    world.asked();
    await world.get(reader.refresh());
    assert.equal(reader.status.seq, 300);
    const asked = world.asked();
    assert.ok(asked.length <= 300 + 25, `${asked.length} requests`);
    await world.get(reader.close());
    await world.get(db.close());
  });
});

function concat(old: Uint8Array | undefined, operand: Uint8Array): Uint8Array {
  const joined = new Uint8Array((old?.length ?? 0) + operand.length);
  if (old !== undefined) joined.set(old);
  joined.set(operand, old?.length ?? 0);
  return joined;
}
