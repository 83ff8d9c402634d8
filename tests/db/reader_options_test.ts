import { Effect, Stream } from "effect";
import { Closed, DbReader, InvalidArgument, ObjectStore, open } from "../../mod.ts";
import type { ReaderOptions } from "../../src/db/reader_options.ts";
import { virtualClockLayer } from "../../src/env/virtual_clock.ts";
import { tablePath } from "../../src/format/paths.ts";
import type { ExternalDb } from "../../src/format/types.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";

const UUID = "0f3c8a52-1111-4222-8333-444455556666";

async function refusal(options: unknown): Promise<InvalidArgument> {
  const world = new ReaderWorld();
  const error = await world.error(world.opening(options as ReaderOptions));
  assert.ok(error instanceof InvalidArgument, String(error));
  assert.deepEqual(world.asked(), [], "before any request");
  return error;
}

describe("openReader, options", () => {
  it("refuses unknown names and values out of range, before any request", async () => {
    const cases: ReadonlyArray<readonly [unknown, string, RegExp]> = [
      [{ pollInterval: 1 }, "options", /unknown option pollInterval; known are mode, checkpoint/],
      [{ mode: "pinned" }, "options", /mode/],
      [{ mode: "follow", checkpoint: UUID }, "options", /one of the two/],
      [{ checkpoint: "latest" }, "options", /not the id of a checkpoint/],
      [{ manifestPollIntervalMillis: 0 }, "options", /manifestPollIntervalMillis/],
      [{ checkpointLifetimeMillis: 999, manifestPollIntervalMillis: 10 }, "options", /checkpointLifetimeMillis/],
      [{ checkpointLifetimeMillis: 19_999 }, "checkpoint-lifetime-too-short", /less than twice/],
      [{ maxMemtableBytes: 0 }, "options", /maxMemtableBytes/],
      [{ skipWalReplay: "yes" }, "options", /skipWalReplay/],
      [{ ttl: "never" }, "options", /ttl/],
      [{ mergeOperator: "elsewhere" }, "options", /mergeOperator/],
      [{ blockCacheBytes: -1 }, "options", /blockCacheBytes/],
      [{ wal: false }, "options", /wal/],
      [{ wal: { store: {} } }, "options", /object store/],
      [{ requestTimeoutMillis: 0 }, "options", /requestTimeoutMillis/],
      [{ clock: {} }, "options", /clock/],
    ];
    for (const [options, reason, message] of cases) {
      const error = await refusal(options);
      assert.equal(error.reason, reason, JSON.stringify(options));
      assert.match(error.message, message);
    }
  });

  it("skipWalReplay shows tables only, and asks for no log", async () => {
    for (const mode of ["managed", "follow"] as const) {
      const world = new ReaderWorld();
      const db = await world.open();
      await world.put(db, { a: "1" });
      await world.get(db.flush({ kind: "memtable" }));
      await world.put(db, { a: "2" });
      const reader = await world.reader({ mode, skipWalReplay: true });
      assert.equal(await world.value(reader, "a"), "1");
      assert.equal(reader.status.seq, 1);
      await world.clock.advance(10_000);
      assert.equal(await world.value(reader, "a"), "1");
      await world.get(db.flush({ kind: "memtable" }));
      await world.clock.advance(10_000);
      assert.equal(await world.value(reader, "a"), "2");
      assert.ok(!world.asked().some((request) => request.includes("wal/")));
      await world.get(reader.close());
      await world.get(db.close());
    }
  });

  it("ttl and mergeOperator act as in a database", async () => {
    const world = new ReaderWorld({ mergeOperator: "elsewhere" });
    const db = await world.open();
    await world.get(db.put("t", "1", { ttl: { afterMillis: 5000 } }));
    await world.get(db.merge("m", "1"));
    const appended = (_: Uint8Array, old: Uint8Array | undefined, operand: Uint8Array) =>
      new TextEncoder().encode(`${text(old) ?? ""}${text(operand)}`);
    const strict = await world.reader({ mergeOperator: appended });
    const loose = await world.reader({ ttl: "slatedb" });
    await world.get(db.merge("m", "2"));
    await world.clock.advance(10_000);
    assert.equal(await world.value(strict, "t"), undefined);
    assert.equal(await world.value(loose, "t"), "1");
    assert.equal(text(await world.get(strict.get("t", { ttl: "slatedb" }))), "1");
    assert.equal(await world.value(strict, "m"), "12");
    const error = await world.error(loose.get("m"));
    assert.ok(error instanceof InvalidArgument && error.reason === "merge-operator-missing");
    for (const reader of [strict, loose]) await world.get(reader.close());
    await world.get(db.close());
  });

  it("wal.store is needed exactly when the log lives apart", async () => {
    const log = memoryStore();
    const apart = new ReaderWorld({ wal: { store: log } });
    const db = await apart.open();
    await apart.put(db, { a: "1" });
    const missing = await apart.error(apart.opening());
    assert.ok(missing instanceof InvalidArgument && missing.reason === "wal-store");
    const reader = await apart.reader({ wal: { store: log } });
    assert.equal(await apart.value(reader, "a"), "1");
    await apart.put(db, { a: "2" });
    await apart.get(reader.refresh());
    assert.equal(await apart.value(reader, "a"), "2");
    assert.deepEqual(Object.keys(reader.cost().requests), ["reader"]);
    const tables = await apart.reader({ skipWalReplay: true });
    assert.equal(await apart.value(tables, "a"), undefined);
    for (const one of [reader, tables]) await apart.get(one.close());
    await apart.get(db.close());
    const beside = new ReaderWorld();
    await beside.get((await beside.open()).close());
    const needless = await beside.error(beside.opening({ wal: { store: log } }));
    assert.ok(needless instanceof InvalidArgument && needless.reason === "wal-store");
  });

  it("blockCacheBytes keeps blocks, and 0 keeps none", async () => {
    const world = new ReaderWorld({ blockSizeBytes: 1024 });
    const db = await world.open();
    for (let i = 0; i < 2000; i++) await db.put(`k${10_000 + i}`, "v".repeat(90), { durable: false });
    await world.get(db.flush({ kind: "memtable" }));
    for (const blockCacheBytes of [0, 1 << 20]) {
      const reader = await world.reader({ blockCacheBytes });
      await world.get(reader.get("k10500"));
      world.asked();
      await world.get(reader.get("k10500"));
      assert.equal(world.asked().length, blockCacheBytes === 0 ? 1 : 0);
      await world.get(reader.close());
    }
    await world.get(db.close());
  });

  it("the tables of another database that a clone refers to are read there", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    const own = world.manifest.l0[0]!;
    const early = await Promise.all((["managed", "follow"] as const).map((mode) => world.reader({ mode })));
    const sstId = ulidFromParts(7, new Uint8Array(10));
    world.inner.plant(tablePath("parent", sstId), world.inner.peek(tablePath("", own.sstId))!);
    world.inner.remove(tablePath("", own.sstId));
    const external: ExternalDb = {
      path: "parent",
      sourceCheckpointId: UUID,
      finalCheckpointId: UUID,
      sstIds: [sstId],
    };
    world.commit((manifest) => ({
      ...manifest,
      l0: [{ ...own, sstId, viewId: sstId }],
      externalDbs: [external],
    }));
    const late = await Promise.all((["managed", "follow"] as const).map((mode) => world.reader({ mode })));
    for (const reader of [...early, ...late]) {
      await world.get(reader.refresh());
      assert.equal(await world.value(reader, "a"), "1");
      await world.get(reader.close());
    }
    await world.get(db.close().catch(() => {}));
  });
});

describe("DbReader, the Effect face", () => {
  it("opens in a scope, has the same names, and deletes its checkpoint with the scope", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "2" });
    const program = Effect.gen(function* () {
      const reader = yield* DbReader;
      assert.equal(text(yield* reader.get("a")), "1");
      assert.equal((yield* reader.getEntry("b"))?.seq, 2);
      assert.deepEqual((yield* reader.getMany(["b", "x"])).map(text), ["2", undefined]);
      assert.equal((yield* reader.status).seq, 2);
      assert.equal(yield* reader.refresh, 2);
      yield* reader.waitForSeq(2);
      const rows = yield* Stream.runCollect(reader.scan());
      assert.equal(rows.length, 2);
      const snapshot = yield* reader.snapshot;
      assert.equal(snapshot.seq, 2);
      assert.equal(text(yield* snapshot.get("b")), "2");
      assert.equal(world.manifest.checkpoints.length, 1);
      assert.deepEqual(Object.keys((yield* reader.cost).requests), ["reader"]);
      return reader;
    });
    const reader = await world.get(Effect.runPromise(
      Effect.scoped(program).pipe(
        Effect.provide(DbReader.layer({ path: "" })),
        Effect.provideService(ObjectStore, world.inner),
        Effect.provide(virtualClockLayer(world.clock)),
      ),
    ));
    assert.deepEqual(world.manifest.checkpoints, []);
    const error = await world.error(Effect.runPromise(reader.get("a")));
    assert.ok(error instanceof Closed);
    await world.get(db.close());
  });

  it("a stream that is not read to its end lets go of its tables", async () => {
    const store = memoryStore();
    const db = await open({ store, path: "" }, { compactor: false });
    for (let i = 0; i < 1000; i++) void db.put(`k${i}`, "v", { durable: false });
    await db.flush({ kind: "memtable" });
    const program = Effect.gen(function* () {
      const reader = yield* DbReader.open();
      yield* Stream.runCollect(Stream.take(reader.scan(), 2));
      yield* Effect.promise(() => db.put("x", "y").then(() => db.flush({ kind: "memtable" })));
      const before = (yield* reader.status).checkpointId;
      yield* reader.refresh;
      const { checkpointId } = yield* reader.status;
      assert.notEqual(checkpointId, before);
      return (yield* Effect.promise(() => db.checkpoints())).map(({ id }) => id).filter((id) => id !== checkpointId);
    });
    const others = await Effect.runPromise(Effect.scoped(program).pipe(Effect.provideService(ObjectStore, store)));
    assert.deepEqual(others, []);
    await db.close();
  });
});
