import { Context, Effect, Layer, Metric } from "effect";
import { Db, ObjectStore, open, WriteBatch } from "../../mod.ts";
import type { Db as OpenDb, MetricValue } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";

/** The value of one metric; undefined when there is none of that name with these labels. */
function value(metrics: readonly MetricValue[], name: string, labels: Record<string, string> = {}): number | undefined {
  const found = metrics.filter((one) =>
    one.name === `slatedb.${name}` && Object.entries(labels).every(([key, wanted]) => one.labels[key] === wanted) &&
    Object.keys(one.labels).length === Object.keys(labels).length
  );
  assert.ok(found.length <= 1, `${name} is there ${found.length} times`);
  return found[0]?.value;
}

const QUIET: OpenOptions = { compactor: false, garbageCollector: false };
const sum = (key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) => {
  assert.ok(key.length > 0);
  return existing === undefined ? operand : new Uint8Array([...existing, ...operand]);
};

/** A world whose database has 3000 rows in one table with a filter. */
async function withTable(world: World): Promise<OpenDb> {
  const db = await world.open();
  const batch = new WriteBatch();
  for (let i = 0; i < 3000; i++) batch.put(`key ${String(i).padStart(6, "0")}`, "v".repeat(40));
  await world.get(db.write(batch));
  await world.get(db.flush({ kind: "memtable" }));
  return db;
}

describe("metrics", () => {
  it("count writes, batches and flushes", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.get(db.delete("a"));
    await world.get(db.write(new WriteBatch().put("b", "2").put("c", "3").delete("d")));
    await db.put("e", "5", { durable: false });
    await assert.rejects(db.put("", "refused"));
    await assert.rejects(db.write(new WriteBatch()));
    const count = (name: string, labels = {}) => value(db.metrics(), `db.${name}`, labels);
    assert.deepEqual([count("write_ops"), count("write_batch_count"), count("backpressure_count")], [6, 4, 0]);
    assert.deepEqual([count("wal_buffer_flushes"), count("wal_buffer_flush_requests")], [3, 3]);
    assert.ok(count("wal_buffer_estimated_bytes")! > 0);
    assert.ok(count("total_mem_size_bytes")! > 0);
    assert.deepEqual([count("l0_sst_count"), count("immutable_memtable_flushes")], [0, 0]);
    await world.get(db.flush());
    await world.get(db.flush({ kind: "memtable" }));
    const [table] = world.paths("compacted");
    assert.equal(count("request_count", { op: "flush" }), 2);
    assert.equal(count("wal_buffer_flushes"), 4);
    assert.equal(count("wal_buffer_estimated_bytes"), 0);
    assert.equal(count("total_mem_size_bytes"), 0);
    assert.deepEqual([count("l0_sst_count"), count("immutable_memtable_flushes")], [1, 1]);
    assert.equal(count("l0_flush_bytes"), world.inner.peek(table!)!.length);
    await world.get(db.close());
    assert.equal(count("write_ops"), 6, "they can be read after the close");
  });

  it("count writes that wait for room", async () => {
    const world = new World({ ...QUIET, l0SstSizeBytes: 100, maxUnflushedBytes: 400 });
    const db = await world.open();
    world.store.controls.setOutage(true);
    const writes = Array.from({ length: 6 }, (_, i) => db.put(`k${i}`, "v".repeat(150)));
    await world.clock.advance(100);
    assert.equal(value(db.metrics(), "db.backpressure_count"), 3);
    world.store.controls.setOutage(false);
    for (const write of writes) await world.get(write, 60_000);
    assert.equal(value(db.metrics(), "db.backpressure_count"), 3);
    assert.equal(value(db.metrics(), "db.write_ops"), 6);
  });

  it("count reads, what filters said, and what was in the cache", async () => {
    const world = new World(QUIET);
    await world.get((await withTable(world)).close());
    const db = await world.open();
    const count = (name: string, labels = {}) => value(db.metrics(), name, labels);
    const cache = (kind: string) => [
      count("db_cache.access_count", { entry_kind: kind, result: "hit" }),
      count("db_cache.access_count", { entry_kind: kind, result: "miss" }),
    ];
    await world.get(db.get("key 000007"));
    assert.equal(count("db.request_count", { op: "get" }), 1);
    assert.equal(cache("filter")[1], 1);
    assert.equal(cache("index")[1], 1);
    assert.equal(cache("data_block")[1], 1);
    assert.equal(cache("data_block")[0], 0, "the block that was fetched is no hit");
    const cold = { filter: cache("filter")[0]!, index: cache("index")[0]! };
    for (let i = 0; i < 10; i++) await world.get(db.get("key 000007"));
    assert.deepEqual(cache("data_block"), [10, 1]);
    assert.deepEqual([cache("filter")[0]! - cold.filter, cache("index")[0]! - cold.index], [10, 10]);
    assert.equal(count("db.sst_filter_positive_count"), 11);
    assert.equal(count("db.sst_filter_false_positive_count"), 0);
    // Between two keys of the table: only the filter can tell.
    for (let i = 0; i < 1000; i++) await world.get(db.get(`key ${String(i).padStart(6, "0")}x`));
    const inVain = count("db.sst_filter_false_positive_count")!;
    assert.ok(inVain < 60, `${inVain} of 1000`);
    assert.equal(count("db.sst_filter_negative_count"), 1000 - inVain);
    assert.equal(count("db.sst_filter_positive_count"), 11 + inVain);
    assert.equal(count("db.request_count", { op: "get" }), 1011);
    await world.get(db.getMany(["key 000001", "key 000002"]));
    assert.equal(count("db.request_count", { op: "get" }), 1013);
    await world.get(db.scan({ prefix: "key 00001" }).toArray());
    assert.equal(count("db.request_count", { op: "scan" }), 1);
    assert.equal(count("db_cache.error_count"), 0);
    await world.get(db.tables());
    await world.get(db.tables());
    assert.deepEqual(cache("stats"), [1, 1]);
  });

  it("count false alarms of a filter that is full", async () => {
    const world = new World({ ...QUIET, filterBitsPerKey: 1 });
    const db = await withTable(world);
    for (let i = 0; i < 1000; i++) await world.get(db.get(`key ${String(i).padStart(6, "0")}x`));
    const [positive, negative, inVain] = ["positive", "negative", "false_positive"].map((what) =>
      value(db.metrics(), `db.sst_filter_${what}_count`)!
    );
    assert.equal(positive! + negative!, 1000);
    assert.equal(positive, inVain);
    assert.ok(inVain! > 100);
  });

  it("count merge operands by who folds them", async () => {
    const world = new World({ ...QUIET, mergeOperator: sum });
    const db = await world.open();
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 3; i++) await world.get(db.merge("m", `${i}`));
      if (round === 0) await world.get(db.get("m"));
      await world.get(db.flush({ kind: "memtable" }));
    }
    const count = (path: string) => value(db.metrics(), "merge_operator_operands", { path });
    assert.deepEqual([count("read"), count("flush"), count("compact")], [3, 6, 0]);
    await world.get(db.compact(), 60_000);
    assert.deepEqual([count("read"), count("flush"), count("compact")], [3, 6, 2]);
  });

  it("count compactions and collections", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    for (let i = 0; i < 3; i++) {
      await world.get(db.put(`k${i}`, "v"));
      await world.get(db.flush({ kind: "memtable" }));
    }
    const tables = world.paths("compacted").reduce((bytes, path) => bytes + world.inner.peek(path)!.length, 0);
    assert.equal(value(db.metrics(), "compactor.last_compaction_timestamp_sec"), 0);
    await world.get(db.compact(), 60_000);
    const count = (name: string, labels = {}) => value(db.metrics(), name, labels)!;
    assert.ok(count("compactor.bytes_compacted") > 0 && count("compactor.bytes_compacted") <= tables);
    assert.ok(Math.abs(count("compactor.last_compaction_timestamp_sec") - world.clock.now() / 1000) < 70);
    assert.equal(count("compactor.running_compactions"), 0);
    assert.equal(count("compactor.total_bytes_being_compacted"), 0);
    assert.equal(count("compactor.total_throughput_bytes_per_sec"), 0);
    assert.equal(count("gc.count"), 0);
    await world.clock.advance(2 * 3_600_000);
    const report = await world.get(db.collectGarbage(), 60_000);
    assert.ok(report.deleted.compacted.length > 0 && report.deleted.manifest.length > 0);
    assert.equal(count("gc.count"), 1);
    for (const resource of ["manifest", "wal", "compacted", "compactions"] as const) {
      assert.equal(count("gc.deleted_count", { resource }), report.deleted[resource].length, resource);
    }
    await world.get(db.collectGarbage({ dryRun: true }), 60_000);
    assert.equal(count("gc.count"), 1, "a dry run is no pass");
  });

  it("show a compaction that runs", async () => {
    const world = new World(QUIET);
    const db = await withTable(world);
    await world.get(db.put("key 000001", "again"));
    await world.get(db.flush({ kind: "memtable" }));
    world.store.controls.addRules({
      op: ["putIfAbsent", "upload"],
      prefix: "compacted/",
      fault: { kind: "delay", millis: 5000 },
    });
    const compaction = db.compact();
    await world.clock.advance(2000);
    const count = (name: string) => value(db.metrics(), `compactor.${name}`)!;
    assert.equal(count("running_compactions"), 1);
    assert.ok(count("total_bytes_being_compacted") > 100_000);
    assert.ok(count("total_throughput_bytes_per_sec") > 10_000);
    await world.get(compaction, 60_000);
    assert.equal(count("running_compactions"), 0);
  });

  it("count requests, their errors and times, by component, store and api", async () => {
    const wal = faultyStore(memoryStore());
    const world = new World({ ...QUIET, wal: { store: wal } });
    const db = await world.open();
    wal.controls.setLatency(20);
    const labels = { component: "db", store_type: "wal", op: "put", api: "put" };
    const before = value(db.metrics(), "object_store.request_count", labels)!;
    await world.get(db.put("a", "1"));
    wal.controls.addRules({ op: "putIfAbsent", fault: { kind: "before" } });
    await world.get(db.put("b", "2"));
    const metrics = db.metrics();
    assert.equal(value(metrics, "object_store.request_count", labels)! - before, 3);
    assert.equal(value(metrics, "object_store.error_count", labels), 1);
    const times = metrics.find((one) =>
      one.type === "histogram" && one.labels["store_type"] === "wal" && one.labels["api"] === "put"
    )!;
    assert.equal(times.name, "slatedb.object_store.request_duration_seconds");
    const { sum: seconds, max, buckets } = times.histogram!;
    assert.equal(times.value, before + 3);
    assert.ok(seconds > 0.039 && seconds < 0.1 && max > 0.019 && max < 0.03, `${seconds} ${max}`);
    assert.equal(buckets.find(([bound]) => bound === 0.025)![1], before + 3);
    assert.equal(buckets.find(([bound]) => bound === 0.01)![1], before, "the first ones took no time");
    assert.ok(value(metrics, "object_store.request_count", { ...labels, store_type: "main" })! >= 2);
    assert.ok(value(metrics, "object_store.request_count", { ...labels, op: "get", api: "list" })! >= 1);
  });

  it("are in Effect's registry while the database is open, and their sums after that", async () => {
    const registry: Metric.MetricRegistry = new Map();
    const context = Context.make(Metric.MetricRegistry, registry) as Context.Context<never>;
    const shown = (name: string, labels: Record<string, string> = {}) =>
      Metric.snapshotUnsafe(context).filter(({ id, attributes }) =>
        id === `slatedb.${name}` && Object.entries(labels).every(([key, wanted]) => attributes?.[key] === wanted)
      );
    const counted = (name: string, labels = {}) => (shown(name, labels)[0]?.state as { count: number }).count;
    const program = Effect.gen(function* () {
      const first = yield* Db.open({ ...QUIET, path: "first" });
      const second = yield* Db.open({ ...QUIET, path: "second" });
      yield* first.put("a", "1");
      yield* second.put("b", "2");
      yield* second.put("c", "3");
      yield* second.get("c");
      assert.equal(counted("db.write_ops"), 3);
      assert.equal(counted("db.request_count", { op: "get" }), 1);
      assert.equal(counted("object_store.request_count", { store_type: "wal", api: "put" }), 5);
      assert.equal(counted("object_store.request_duration_seconds", { store_type: "wal", api: "put" }), 5);
      const metrics = yield* second.metrics;
      assert.equal(value(metrics, "db.write_ops"), 2);
      for (const { name, labels } of metrics) {
        assert.equal(shown(name.slice("slatedb.".length), labels).length, 1, `${name} ${JSON.stringify(labels)}`);
      }
      const memory = () => (shown("db.total_mem_size_bytes")[0]?.state as { value: number } | undefined)?.value;
      const both = memory()!;
      yield* first.close;
      for (let turn = 0; turn < 20 && memory() === both; turn++) yield* Effect.sleep(1);
      assert.ok(memory()! < both && memory()! > 0);
      yield* second.put("d", "4");
      assert.equal(counted("db.write_ops"), 4);
      assert.equal(shown("object_store.request_count", { api: "get_range" }).length, 0);
      yield* second.flush({ kind: "memtable" });
      yield* second.tables;
      assert.equal(counted("object_store.request_count", { api: "get_range" }), 1);
      yield* second.close;
      for (let turn = 0; turn < 20 && memory() !== undefined; turn++) yield* Effect.sleep(1);
      assert.equal(memory(), undefined, "a gauge without a database is gone");
      assert.equal(counted("db.write_ops"), 4, "a counter never goes back");
    });
    const services = Layer.merge(
      Layer.succeed(ObjectStore, memoryStore()),
      Layer.succeed(Metric.MetricRegistry, registry),
    );
    await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(services)));
  });

  it("are apart where the attributes of the context say so", async () => {
    const registry: Metric.MetricRegistry = new Map();
    const opened = (name: string) =>
      Effect.provideService(Db.open({ ...QUIET, path: name }), Metric.CurrentMetricAttributes, { db: name });
    const program = Effect.gen(function* () {
      const first = yield* opened("first");
      yield* opened("second");
      yield* first.put("a", "1");
      const writes = (yield* Metric.snapshot).filter(({ id }) => id === "slatedb.db.write_ops");
      assert.deepEqual(
        writes.map(({ attributes, state }) => [attributes?.["db"], (state as { count: number }).count]),
        [["first", 1], ["second", 0]],
      );
    });
    const services = Layer.merge(
      Layer.succeed(ObjectStore, memoryStore()),
      Layer.succeed(Metric.MetricRegistry, registry),
    );
    await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(services)));
  });

  it("need no timer and no request of their own", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    await world.clock.advance(60_000);
    const requests = world.store.controls.requestCount;
    const timers = world.clock.timers;
    for (let i = 0; i < 10; i++) {
      db.metrics();
      await world.clock.advance(1000);
    }
    assert.deepEqual([world.store.controls.requestCount, world.clock.timers], [requests, timers]);
    const other = await open("memory:");
    assert.ok(other.metrics().length > 35);
    await other.close();
  });
});
