import { open } from "../../mod.ts";
import type { WriteResult } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { Unavailable } from "../../src/errors.ts";
import type { FaultyOp } from "../../src/store/faulty_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { contentsOf, World } from "./fault_world.ts";

const small: OpenOptions = { l0SstSizeBytes: 2000, maxUnflushedBytes: 10_000, blockSizeBytes: 1024 };
const value = "v".repeat(60);

describe("an outage of the store", () => {
  for (const durable of [true, false]) {
    it(`longer than all buffers holds writes back, then drains them in call order, durable: ${durable}`, async () => {
      // A collection at the end would take the first object of the log, which is an hour old by then.
      const world = new World({ ...small, garbageCollector: false });
      const db = await world.open();
      await world.get(db.put("before", value));
      const seen = new Set<string>();
      db.onStatus(({ degraded, backpressure }) => seen.add(`degraded ${degraded}, backpressure ${backpressure}`));
      world.store.controls.setOutage(true);
      const answered: number[] = [];
      const results: Array<Promise<WriteResult>> = [];
      for (let i = 0; i < 150; i++) {
        const write = db.put(`key ${String(i).padStart(3, "0")}`, value, { durable });
        results.push(write);
        write.then(() => answered.push(i), () => {});
      }
      await world.clock.advance(29_000);
      assert.deepEqual({ ...db.status, warnings: 0 }.degraded, false);
      assert.equal(db.status.backpressure, true, "more was written than the buffers hold");
      assert.ok(db.status.unflushedBytes <= 2 * 10_000 + 200);
      const applied = answered.length;
      if (durable) assert.equal(applied, 0, "acknowledged without a store");
      else assert.ok(applied > 50 && applied < 150, `${applied} writes were taken into memory`);
      await world.clock.advance(10_000);
      assert.equal(db.status.degraded, true);
      assert.equal(db.status.closeReason, undefined);
      assert.equal(db.status.durableSeq, 1);
      assert.equal(new TextDecoder().decode(await db.get("before")), value, "reads from memory go on");
      await world.clock.advance(3_600_000);
      assert.equal(answered.length, applied);
      world.store.controls.quiet();
      const written = await world.get(Promise.all(results), 60_000);
      assert.deepEqual(written.map(({ seq }) => seq), Array.from({ length: 150 }, (_, i) => i + 2));
      assert.deepEqual(answered, Array.from({ length: 150 }, (_, i) => i), "answered in call order");
      const isDurable = Promise.all(written.map((result) => result.durable));
      await world.get(db.flush({ kind: "memtable" }), 60_000);
      await world.get(isDurable, 60_000);
      // Others who had failed ask again within a second.
      await world.clock.advance(2_000);
      const { degraded, backpressure, unflushedBytes } = db.status;
      assert.deepEqual({ degraded, backpressure, unflushedBytes }, {
        degraded: false,
        backpressure: false,
        unflushedBytes: 0,
      });
      assert.deepEqual(world.walSeqs, Array.from({ length: 151 }, (_, i) => i + 1));
      assert.ok(seen.has("degraded true, backpressure true"), [...seen].join("; "));
      await world.get(db.close());
      assert.equal((await world.contents()).size, 151);
    });
  }

  it("with the log off holds writes back, too, and drains them", async () => {
    const world = new World({ ...small, wal: false, flushIntervalMillis: 100 });
    const db = await world.open();
    world.store.controls.setOutage(true);
    const writes = Array.from({ length: 150 }, (_, i) => db.put(`key ${i}`, value));
    for (const write of writes) write.catch(() => {});
    await world.clock.advance(40_000);
    const { degraded, backpressure, durableSeq } = db.status;
    assert.deepEqual({ degraded, backpressure, durableSeq }, { degraded: true, backpressure: true, durableSeq: 0 });
    world.store.controls.quiet();
    const written = await world.get(Promise.all(writes), 60_000);
    assert.deepEqual(written.map(({ seq }) => seq), Array.from({ length: 150 }, (_, i) => i + 1));
    await world.get(db.close());
    assert.equal((await world.contents()).size, 150);
  });

  it("in any moment of a flush only makes it wait", async () => {
    // Requests of one durable put and one memtable flush: log, table, manifest.
    for (let at = 0; at < 3; at++) {
      const world = new World();
      const db = await world.open();
      const folder = ["wal/", "compacted/", "manifest/"][at]!;
      const rule = { op: "putIfAbsent", prefix: folder, rate: 1 } as const;
      world.store.controls.addRules({ ...rule, fault: { kind: "before" } });
      const put = db.put("a", "1");
      const flush = db.flush({ kind: "memtable" });
      await world.clock.advance(120_000);
      assert.equal(db.status.degraded, true, folder);
      world.store.controls.quiet();
      await world.get(put);
      await world.get(flush);
      assert.equal(world.manifest.l0.length, 1);
      await world.clock.advance(2000);
      assert.equal(db.status.degraded, false, folder);
      await world.get(db.close());
    }
  });
});

const TROUBLES = ["disk-full", "permission"] as const;
const PLACES: ReadonlyArray<readonly [string, FaultyOp]> = [
  ["wal/", "putIfAbsent"],
  ["compacted/", "putIfAbsent"],
  ["manifest/", "putIfAbsent"],
];

describe("a store that refuses for a while", () => {
  for (const reason of TROUBLES) {
    for (const [prefix, op] of PLACES) {
      it(`${reason} at ${prefix}: the writer waits, reads go on, nothing is lost`, async () => {
        const world = new World();
        const db = await world.open();
        await world.get(db.put("a", "1"));
        await world.get(db.flush({ kind: "memtable" }));
        world.store.controls.addRules({ op, prefix, rate: 1, fault: { kind: "before", reason } });
        const put = db.put("b", "1");
        const flush = db.flush({ kind: "memtable" });
        put.catch(() => {});
        flush.catch(() => {});
        await world.clock.advance(60_000);
        assert.equal(db.status.closeReason, undefined, "the refusal closed the database");
        assert.equal((await world.get(db.scan().toArray())).length, 2);
        assert.equal(new TextDecoder().decode(await world.get(db.get("a"))), "1");
        world.store.controls.quiet();
        await world.get(put);
        await world.get(flush);
        await world.get(db.close());
        assert.deepEqual([...(await world.contents()).keys()], ["a", "b"]);
      });
    }
  }

  it("permission refused for the poll and for the proof of the epoch: the writer stays open and acknowledges later", async () => {
    const world = new World();
    const db = await world.open();
    await world.clock.advance(600_000);
    const rule = { prefix: "manifest/", rate: 1, fault: { kind: "before", reason: "permission" } } as const;
    world.store.controls.addRules({ op: ["get", "list", "head"], ...rule });
    const put = db.put("a", "1");
    put.catch(() => {});
    await world.clock.advance(10_000);
    assert.deepEqual(world.walSeqs, [1], "the row is stored");
    assert.equal(db.status.durableSeq, 0, "acknowledged without a proof");
    await world.clock.advance(60_000);
    assert.equal(db.status.closeReason, undefined);
    world.store.controls.quiet();
    await world.get(put);
    await world.get(db.close());
  });

  it("a snapshot, a scan and gets during an outage are answered from memory, cold reads fail as Unavailable in time", async () => {
    const world = new World({ requestTimeoutMillis: 5000, blockCacheBytes: 0 });
    const db = await world.open();
    await world.get(db.put("cold", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.put("warm", "1"));
    world.store.controls.setOutage(true);
    assert.equal((await db.get("warm"))?.length, 1);
    for (const read of [() => db.get("cold"), () => db.scan().toArray(), () => db.getMany(["warm", "cold"])]) {
      const outcome = await world.outcome<unknown>(read(), 60_000);
      assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable, JSON.stringify(outcome));
      assert.ok(outcome.afterMillis <= 6000, `it took ${outcome.afterMillis} ms`);
    }
    world.store.controls.quiet();
    assert.equal((await world.get(db.scan().toArray())).length, 2);
    await world.get(db.close());
  });
});

describe("an outage while a database is opened or closed", () => {
  it("open fails as Unavailable in time and has changed nothing that matters", async () => {
    const world = new World({ requestTimeoutMillis: 3000 });
    const first = await world.open();
    await world.get(first.put("a", "1"));
    await world.get(first.close());
    for (let nth = 1; nth < 12; nth++) {
      const trial = new World({ requestTimeoutMillis: 3000 }, world.inner.clone());
      trial.store.controls.addRules({ nth, times: 1e9, fault: { kind: "before" } });
      const outcome = await trial.outcome(open({ store: trial.store, path: "" }, trial.options), 60_000);
      assert.notEqual(outcome.ended, "never");
      if (outcome.ended === "value") {
        assert.ok(nth > 4, `opened although request ${nth} and all later ones failed`);
        break;
      }
      assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable, `request ${nth}`);
      assert.ok(outcome.afterMillis <= 4000, `it took ${outcome.afterMillis} ms at request ${nth}`);
      assert.deepEqual([...await trial.contents()], [["a", "1"]]);
    }
  });

  it("close fails as Unavailable in time; what was acknowledged is there, and a second close says Closed", async () => {
    for (const folder of ["wal/", "manifest/"]) {
      const world = new World({ requestTimeoutMillis: 3000 });
      const db = await world.open();
      await world.get(db.put("acknowledged", "1"));
      const waiting = await db.put("waiting", "1", { durable: false });
      waiting.durable.catch(() => {});
      world.store.controls.addRules({ op: "putIfAbsent", prefix: folder, rate: 1, fault: { kind: "before" } });
      const outcome = await world.outcome(db.close(), 60_000);
      assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable, JSON.stringify(outcome));
      assert.ok(outcome.afterMillis <= 3050, `it took ${outcome.afterMillis} ms`);
      assert.notEqual((await world.outcome(waiting.durable, 100)).ended, "never");
      assert.equal((await world.outcome(db.close(), 100)).ended, "error");
      assert.ok((await contentsOf(world.inner, world.options)).has("acknowledged"));
    }
  });
});
