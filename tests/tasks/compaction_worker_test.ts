/**
 * The worker that merges tables: what is read stays the same, whatever the cuts, the store and the moment it ends.
 *
 * @module
 */
import fc from "fast-check";
import { Clock, Effect, Exit, Fiber } from "effect";
import { compareBytes } from "../../src/bytes/compare.ts";
import { crc32 } from "../../src/bytes/crc32.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { DataError, StoreError } from "../../src/errors.ts";
import { tablePath } from "../../src/format/paths.ts";
import { readSst } from "../../src/format/sst_footer.ts";
import { FLAG_CREATE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK, type SstView } from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import type { CompactionPlan } from "../../src/lsm/compaction_job.ts";
import { foldMerge } from "../../src/lsm/merge_operator.ts";
import { tableBytes } from "../../src/lsm/table_stats.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import {
  type CompactionCounts,
  type CompactionOutput,
  type CompactionWorkerSpec,
  runCompaction,
} from "../../tasks/compaction_worker.ts";
import { concat, Dice, modelGet, type ModelRow, show, testUlid, writeTable } from "../lsm/read_world.ts";
import { assert, describe, it } from "../support/suite.ts";
import { makeSources, objectBytes, planOf, rowsOf } from "./compaction_tables.ts";

const SEED = 20_261_121;

/** A worker over `store`; ids of its tables are unlike those of the sources. */
function workerOf(store: ObjectStoreShape, changes: Partial<CompactionWorkerSpec> = {}): CompactionWorkerSpec {
  let ids = 1;
  return {
    store,
    tables: new TableStore({ store, root: "db", cache: new BlockCache({ blockBytes: 1 << 20 }) }),
    root: "db",
    encoding: { blockSizeBytes: 256, compression: 0, minFilterKeys: 3, filterBitsPerKey: 10 },
    merge: undefined,
    mintTableId: () => String(ids++).padStart(26, "0"),
    maxSstBytes: 1 << 20,
    ...changes,
  };
}

const noCounts = (): CompactionCounts => ({ bytesIn: 0, bytesOut: 0 });

function run(spec: CompactionWorkerSpec, plan: CompactionPlan): ReadonlyArray<ReadonlyArray<CompactionOutput>> {
  return Effect.runSync(runCompaction(spec, plan, noCounts()));
}

function values(count: number, from: number, step: number, seq: number, valueBytes: number): ModelRow[] {
  return Array.from({ length: count }, (_, i) => ({
    key: new TextEncoder().encode(`key${String(from + i * step).padStart(8, "0")}`),
    seq,
    flags: FLAG_CREATE,
    createTs: 5,
    expireTs: NO_EXPIRY,
    value: new Uint8Array(valueBytes).fill(97 + (i % 26)),
  }));
}

/** Sources of one table each, with rows that alternate; the newest first. */
function interleaved(store: MemoryStore, sources: number, rows: number, valueBytes: number): SstView[][] {
  return Array.from({ length: sources }, (_, i) => [
    writeTable(store, "db", testUlid(i + 1), values(rows, i, sources, sources - i, valueBytes), {
      blockSizeBytes: 4096,
    }),
  ]);
}

function assertOutputs(store: MemoryStore, outputs: readonly CompactionOutput[]): ModelRow[] {
  const rows: ModelRow[] = [];
  for (const { view, bytes, isPlain } of outputs) {
    const own = rowsOf(store, view);
    assert.ok(own.length > 0, "a table without rows");
    const last = rows.at(-1);
    if (last !== undefined) assert.ok(compareBytes(last.key, own[0]!.key) < 0, "a key lies in two tables");
    assert.deepEqual(view.info, readSst(store.peek(tablePath("db", view.sstId))!).info);
    assert.equal(bytes, objectBytes(store, view));
    const plain = own.every((row) => (row.flags & (FLAG_TOMBSTONE | FLAG_MERGE)) === 0 && row.expireTs === NO_EXPIRY);
    assert.equal(isPlain, plain);
    rows.push(...own);
  }
  return rows;
}

describe("runCompaction", () => {
  it(`runCompaction changes no read at or above the barrier (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const dice = new Dice(seed);
        const store = memoryStore();
        const { sources, rows, keys, maxSeq } = makeSources(dice, store);
        const isLastRun = dice.chance(50);
        const minSeq = dice.chance(20) ? Number.MAX_SAFE_INTEGER : dice.roll(maxSeq + 2);
        const tick = dice.chance(30) ? NO_TICK : 1100 + dice.roll(700);
        const merge = dice.chance(70) ? concat : undefined;
        const maxSstBytes = dice.pick([1, 1, 300, 1 << 20]);
        const plan = planOf(store, [sources], { isLastRun, minSeq, tick });
        const spec = workerOf(store, {
          merge,
          maxSstBytes,
          singlePutMaxBytes: dice.pick([1, 500, 1 << 20]),
          encoding: {
            blockSizeBytes: dice.pick([64, 1024]),
            compression: dice.pick([0, 2]),
            minFilterKeys: 2,
            filterBitsPerKey: 10,
          },
        });
        const outputs = run(spec, plan)[0]!;
        const after = assertOutputs(store, outputs);
        if (maxSstBytes === 1) assert.equal(outputs.length, new Set(after.map((row) => row.key.join())).size);
        for (const key of keys) {
          const older = { key, seq: 0, flags: 0, createTs: 1, expireTs: NO_EXPIRY, value: Uint8Array.of(7) };
          const below = isLastRun ? [] : [older];
          for (let at = Math.min(minSeq, maxSeq + 1); at <= maxSeq + 1; at++) {
            for (const nowMillis of [Math.max(tick, 1000), 1300, 1500, 2000]) {
              if (nowMillis < tick) continue;
              const read = { maxSeq: at, nowMillis, mergeOperator: concat };
              const [expected, got] = [[...rows, ...below], [...after, ...below]].map((all) =>
                show(modelGet(all, key, read))
              );
              assert.equal(got, expected, `key ${key} at ${at}`);
            }
          }
        }
      }),
      { seed: SEED, numRuns: 150 },
    );
  });

  it("runCompaction gives the same tables from a store that answers late, and reads each byte once", async () => {
    const store = memoryStore();
    const views = interleaved(store, 4, 1500, 1000);
    const plan = planOf(store, [views.slice(0, 3), [views[3]!]]);
    const changes = { maxSstBytes: 1_000_000, encoding: workerOf(store).encoding };
    const expected = run(workerOf(store, changes), plan).map((outputs) => outputs.map(({ view }) => view));
    const slow = memoryStore();
    for (const path of store.objects()) if (!path.includes("00000000000")) slow.plant(path, store.peek(path)!);
    for (const [view] of views) {
      const path = tablePath("db", view!.sstId);
      slow.plant(path, store.peek(path)!);
    }
    const clock = virtualClock(0);
    const faulty = faultyStore(slow, { latencyMillis: [5, 40] });
    const counts = noCounts();
    const job = Effect.runPromise(
      Effect.provideService(runCompaction(workerOf(faulty, changes), plan, counts), Clock.Clock, clock),
    );
    while (counts.bytesIn < plan.mergeBytes || counts.bytesOut === 0) await clock.advance(10);
    await clock.advance(200);
    const made = await job;
    assert.deepEqual(made.map((outputs) => outputs.map(({ view }) => view)), expected);
    for (const outputs of made) assertOutputs(slow, outputs);
    const out = made.flat().reduce((sum, { view }) => sum + tableBytes(view.info), 0);
    assert.deepEqual(counts, { bytesIn: plan.mergeBytes, bytesOut: out });
    const ranges = faulty.controls.log.filter(({ op }) => op === "getRange").length;
    // Each table is no larger than a window.
    assert.equal(ranges, 4);
  });

  it("runCompaction reads the next window while it merges one, and asks again only when it gets there", () => {
    for (const failures of [0, 1]) {
      const store = memoryStore();
      const plan = planOf(store, [interleaved(store, 1, 600, 10_000)]);
      const counts = noCounts();
      /** How much was merged when each range was asked for, and where it begins. */
      const asked: Array<readonly [number, number]> = [];
      let left = failures;
      const watched: ObjectStoreShape = {
        ...store,
        getRange: (path, range) =>
          Effect.suspend(() => {
            asked.push([range.offset, counts.bytesIn]);
            const isSecond = range.offset > 0 && range.offset < 3e6;
            if (!isSecond || left-- <= 0) return store.getRange(path, range);
            return Effect.fail(
              new StoreError({ op: "getRange", path, reason: "unavailable", retryable: true, outcome: "none" }),
            );
          }),
      };
      const [outputs] = Effect.runSync(runCompaction(workerOf(watched), plan, counts));
      assert.equal(assertOutputs(store, outputs!).length, 600);
      const second = asked.filter(([offset]) => offset > 0 && offset < 3e6).map(([, merged]) => merged);
      assert.equal(second.length, 1 + failures);
      assert.ok(second[0]! < 600_000, `asked for after ${second[0]} bytes`);
      if (failures > 0) assert.ok(second[1]! > 1_800_000, `asked for again after ${second[1]} bytes`);
    }
  });

  it("runCompaction leaves the caches as they were and remembers no table", () => {
    const store = memoryStore();
    const views = interleaved(store, 3, 400, 1000);
    const cache = new BlockCache({ blockBytes: 1 << 20 });
    const tables = new TableStore({ store, root: "db", cache });
    run(workerOf(store, { tables }), planOf(store, [views]));
    assert.deepEqual([cache.stats.blocks, cache.stats.metaEntries], [0, 0]);
    assert.notEqual(tables.table(views[0]![0]!), tables.passingTable(views[0]![0]!));
  });

  it("runCompaction makes no table of a segment of which nothing is kept", () => {
    const store = memoryStore();
    const dead = values(100, 0, 1, 9, 0).map((row) => ({ ...row, flags: FLAG_CREATE | FLAG_TOMBSTONE }));
    const views = [dead, values(100, 0, 1, 5, 50)].map((rows, i) => [
      writeTable(store, "db", testUlid(i + 1), rows, { blockSizeBytes: 256 }),
    ]);
    const before = store.objects();
    assert.deepEqual(run(workerOf(store), planOf(store, [views], { isLastRun: true })), [[]]);
    assert.deepEqual(store.objects(), before);
    const kept = run(workerOf(store), planOf(store, [views, []], { isLastRun: false }));
    assert.equal(assertOutputs(store, kept[0]!).length, 100);
    assert.deepEqual(kept[1], []);
  });

  it("runCompaction keeps operands that the merge operator refuses, and says why", () => {
    const store = memoryStore();
    const operands = [7, 6].map((seq) => values(3, 0, 1, seq, 4).map((row) => ({ ...row, flags: FLAG_MERGE })));
    const views = operands.map((rows, i) => [writeTable(store, "db", testUlid(i + 1), rows, { blockSizeBytes: 256 })]);
    let failure: unknown;
    const spec = workerOf(store, {
      merge: foldMerge(() => {
        throw new Error("not today");
      }),
      onMergeFailure: (error) => failure = error,
    });
    const rows = assertOutputs(store, run(spec, planOf(store, [views], { isLastRun: true }))[0]!);
    assert.deepEqual(rows.map(({ seq }) => seq), [7, 6, 7, 6, 7, 6]);
    assert.match(String(failure), /not today/);
  });

  it("runCompaction takes a row that two sources hold once", () => {
    const store = memoryStore();
    const [newer, older] = [1, 2].map((i) => {
      const rows = values(5, 0, 1, 3, i);
      return [writeTable(store, "db", testUlid(i), rows, { blockSizeBytes: 256 })];
    });
    const rows = assertOutputs(store, run(workerOf(store), planOf(store, [[newer!, older!]], { minSeq: 0 }))[0]!);
    assert.deepEqual(rows.map(({ value }) => value.length), [1, 1, 1, 1, 1]);
  });

  it("runCompaction lets others have their turns", async () => {
    const store = memoryStore();
    const views = interleaved(store, 2, 2000, 1000);
    let turns = 0;
    const other = Effect.forever(Effect.andThen(Effect.yieldNow, Effect.sync(() => turns++)));
    const job = runCompaction(workerOf(store), planOf(store, [views]), noCounts());
    await Effect.runPromise(Effect.raceFirst(job, other));
    // 4 MB in slices of 256 KiB; the other one needs two turns for a round.
    assert.ok(turns >= 7, `${turns} turns`);
  });
});

describe("runCompaction with tables in parts", () => {
  /** Twenty megabytes, which make two full parts and a rest. */
  const large = (store: MemoryStore) => interleaved(store, 2, 1000, 10_000);
  const changes = {
    maxSstBytes: Infinity,
    singlePutMaxBytes: 1 << 20,
    encoding: { blockSizeBytes: 65_536, compression: 0, minFilterKeys: 3, filterBitsPerKey: 10 },
  } as const;

  it("runCompaction stores a large table in parts while it grows, in order", () => {
    const store = memoryStore();
    const plan = planOf(store, [large(store)]);
    const faulty = faultyStore(store);
    const [outputs] = run(workerOf(faulty, changes), plan);
    assert.equal(assertOutputs(store, outputs!).length, 2000);
    const ops = faulty.controls.log.map(({ op }) => op).filter((op) => op !== "getRange");
    assert.deepEqual(ops, ["upload", "uploadWrite", "uploadWrite", "uploadWrite", "uploadComplete"]);
    const small = { ...changes, singlePutMaxBytes: 1 << 26, mintTableId: () => "9".repeat(26) };
    assert.equal(run(workerOf(faulty, small), plan)[0]!.length, 1);
    assert.equal(faulty.controls.log.at(-1)!.op, "putIfAbsent");
  });

  it("runCompaction switches to parts when a table grows larger than expected", async () => {
    const store = memoryStore();
    const views = large(store);
    const plan = planOf(store, [views]);
    // As if most of it were about to be dropped.
    const merge = plan.segments[0]!;
    if (merge.kind !== "merge") throw new Error("no merge");
    const wrong: CompactionPlan = { ...plan, segments: [{ ...merge, bytes: 1000 }] };
    const faulty = faultyStore(store);
    const [outputs] = run(workerOf(faulty, changes), wrong);
    assert.equal(assertOutputs(store, outputs!).length, 2000);
    assert.ok(faulty.controls.log.some(({ op }) => op === "uploadComplete"));
    const whole = { ...changes, singlePutMaxBytes: 1 << 26, mintTableId: () => "9".repeat(26) };
    const [again] = await Effect.runPromise(runCompaction(workerOf(faulty, whole), wrong, noCounts()));
    assert.equal(assertOutputs(store, again!).length, 2000);
    assert.equal(faulty.controls.log.at(-1)!.op, "putIfAbsent");
  });

  it("runCompaction stores every byte of a table whose size is about that of the largest put", async () => {
    for (let rows = 400; rows < 450; rows += 5) {
      const store = memoryStore();
      const plan = planOf(store, [interleaved(store, 1, rows, 10_000)]);
      const wrong = {
        ...plan,
        segments: plan.segments.map((segment) => ({ ...segment, bytes: 1000 })),
      } as CompactionPlan;
      const spec = workerOf(store, { ...changes, singlePutMaxBytes: 4 << 20 });
      const [outputs] = await Effect.runPromise(runCompaction(spec, wrong, noCounts()));
      assert.equal(assertOutputs(store, outputs!).length, rows);
    }
  });

  it("runCompaction makes no more tables once one could not be stored", async () => {
    const store = memoryStore();
    const plan = planOf(store, [interleaved(store, 2, 2000, 1000)]);
    const faulty = faultyStore(store, {
      rules: [{ op: "putIfAbsent", nth: 1, fault: { kind: "before", retryable: false } }],
    });
    const exit = await Effect.runPromiseExit(
      runCompaction(workerOf(faulty, { maxSstBytes: 100_000 }), plan, noCounts()),
    );
    assert.ok(Exit.isFailure(exit));
    const puts = faulty.controls.log.filter(({ op }) => op === "putIfAbsent").length;
    assert.ok(puts >= 1 && puts <= 4, `${puts} of some 40 puts`);
  });

  it("runCompaction waits for a slow upload instead of gathering a table in memory", async () => {
    const store = memoryStore();
    const plan = planOf(store, [large(store)]);
    const clock = virtualClock(0);
    const faulty = faultyStore(store, {
      rules: [1, 3].map((nth) => ({ op: "uploadWrite", nth, fault: { kind: "delay", millis: 1000 } })),
    });
    const counts = noCounts();
    const job = runCompaction(workerOf(faulty, changes), plan, counts);
    const made = Effect.runPromise(Effect.provideService(job, Clock.Clock, clock));
    for (let i = 0; i < 200; i++) await clock.advance(1);
    // One part under way, one full, and no more than a slice behind it.
    assert.ok(counts.bytesOut > 16e6 && counts.bytesOut < 18e6, `${counts.bytesOut}`);
    for (let i = 0; i < 5; i++) await clock.advance(1000);
    assertOutputs(store, (await made)[0]!);
  });

  it("runCompaction fails and gives the upload up when the store loses it", async () => {
    for (const op of ["upload", "uploadWrite", "uploadComplete"] as const) {
      const store = memoryStore();
      const plan = planOf(store, [large(store)]);
      const before = store.objects();
      const faulty = faultyStore(store, { rules: [{ op, nth: 1, fault: { kind: "before", retryable: false } }] });
      const exit = await Effect.runPromiseExit(runCompaction(workerOf(faulty, changes), plan, noCounts()));
      const error = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined;
      assert.ok(error?._tag === "Fail" && error.error instanceof StoreError, op);
      assert.deepEqual(store.objects(), before);
      if (op !== "upload") assert.equal(faulty.controls.log.at(-1)!.op, "uploadAbort");
    }
  });
});

describe("runCompaction that does not end well", () => {
  it("runCompaction fails with the object's name when a source is gone or damaged", () => {
    const store = memoryStore();
    const views = interleaved(store, 2, 500, 200);
    const path = tablePath("db", views[1]![0]!.sstId);
    const plan = planOf(store, [views]);
    const file = store.peek(path)!;
    const damaged = file.slice();
    damaged[50_000] = damaged[50_000]! ^ 1;
    store.plant(path, damaged);
    const flipped = Effect.runSync(Effect.flip(runCompaction(workerOf(store), plan, noCounts())));
    assert.ok(flipped instanceof DataError && flipped.object === path && flipped.reason === "checksum");
    store.remove(path);
    const missing = Effect.runSync(Effect.flip(runCompaction(workerOf(store), plan, noCounts())));
    assert.ok(missing instanceof DataError && missing.object === path && missing.reason === "missing-object");
  });

  it("runCompaction fails when the rows of a block make no sense", () => {
    const store = memoryStore();
    const views = interleaved(store, 1, 10, 20);
    const path = tablePath("db", views[0]![0]!.sstId);
    const file = store.peek(path)!;
    const { info } = readSst(file);
    // The first row claims to share bytes with a row before it; the checksum is right.
    file[0] = 3;
    const sum = crc32(file, 0, info.filterOffset - 4);
    new DataView(file.buffer).setUint32(info.filterOffset - 4, sum);
    store.plant(path, file);
    const failed = Effect.runSync(Effect.flip(runCompaction(workerOf(store), planOf(store, [views]), noCounts())));
    assert.ok(failed instanceof DataError && failed.object === path && failed.reason === "malformed");
  });

  it("runCompaction that is interrupted or dies at any request leaves whole tables only", async () => {
    const make = () => {
      const store = memoryStore();
      const plan = planOf(store, [interleaved(store, 3, 60, 1000)]);
      return { store, plan, changes: { maxSstBytes: 40_000, singlePutMaxBytes: 30_000 } };
    };
    const whole = make();
    const log = faultyStore(whole.store);
    const tables = run(workerOf(log, whole.changes), whole.plan)[0]!.length;
    assert.ok(tables > 3);
    for (let index = 0; index < log.controls.requestCount; index++) {
      for (const when of ["before", "after"] as const) {
        const { store, plan, changes } = make();
        const before = store.objects().length;
        const faulty = faultyStore(store, { crashAt: { index, when } });
        const fiber = Effect.runFork(runCompaction(workerOf(faulty, changes), plan, noCounts()));
        for (let turn = 0; turn < 200 && !faulty.controls.crashed; turn++) await Effect.runPromise(Effect.yieldNow);
        assert.ok(faulty.controls.crashed, `request ${index} was not reached`);
        faulty.controls.revive();
        await Effect.runPromise(Fiber.interrupt(fiber));
        for (const path of store.objects()) assert.ok(readSst(store.peek(path)!).rows > 0);
        assert.ok(store.objects().length < before + tables + 1);
        const starts = faulty.controls.log.filter(({ op, outcome }) => op === "upload" && outcome === "ok").length;
        const ends = faulty.controls.log.filter(({ op }) => op === "uploadAbort" || op === "uploadComplete").length;
        assert.ok(ends >= starts, "an upload was left open");
      }
    }
  });
});
