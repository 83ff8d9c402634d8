/** The doctor on stores that keep all promises, and on stores in trouble. */
import { Effect, Fiber } from "effect";
import { type VirtualClock, virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import type { StoreError } from "../../src/errors.ts";
import { DOCTOR_ROWS, examineStore, plannedRequests } from "../../src/store/doctor/examine.ts";
import { type FaultPlan, faultyStore } from "../../src/store/faulty_store.ts";
import { fileStore } from "../../src/store/file_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { withoutPutIds } from "../db/fault_world.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { detailOf, examine, examineSlow, type Lie, lying, QUICK, rowsThat } from "./doctor_world.ts";

describe("examineStore on a sound store", () => {
  it("memory passes all rows, page by page too, and keeps what was there", async () => {
    const store = memoryStore();
    store.plant("db/manifest/00000000000000000001.manifest", new Uint8Array([1]));
    const seen: string[] = [];
    const report = await examine(store, { root: "db", pages: true, onRow: ({ name }) => seen.push(name) });
    assert.equal(report.verdict, "fit");
    assert.deepEqual(rowsThat(report, "skipped"), ["delete many"]);
    assert.equal(rowsThat(report, "pass").length, DOCTOR_ROWS.length - 1);
    assert.deepEqual(seen, DOCTOR_ROWS);
    assert.deepEqual(store.objects(), ["db/manifest/00000000000000000001.manifest"]);
    assert.match(report.prefix, /^db\/phyllite-doctor-[0-9a-f]{16}\/$/);
  });

  it("touches nothing outside its own folder", async () => {
    const store = faultyStore(memoryStore());
    const { prefix } = await examine(store, { root: "db" });
    assert.deepEqual(store.controls.log.filter(({ path }) => !path.startsWith(prefix)), []);
  });

  it("a folder passes", { skip: canUseDisk() ? false : "needs the disk" }, async () => {
    const report = await inFolder((folder) => examine(fileStore(folder)));
    assert.equal(report.verdict, "fit", JSON.stringify(report.rows));
    assert.deepEqual(rowsThat(report, "skipped"), ["put-id", "delete many", "list pages"]);
  });

  it("one that deletes many at once passes that row, and is cleaned up with one request", async () => {
    const inner = memoryStore();
    const deleteMany = (paths: ReadonlyArray<string>) => Effect.forEach(paths, inner.delete, { discard: true });
    const report = await examine({ ...inner, deleteMany });
    assert.equal(report.fitness, "fit");
    assert.equal(report.requests["deleteMany"], 2);
    assert.deepEqual(inner.objects(), []);
  });

  it("one that keeps no put-ids is warned of where it is a service", async () => {
    const bare = withoutPutIds(memoryStore());
    assert.deepEqual(rowsThat(await examine(bare), "warn"), []);
    const report = await examine({ ...bare, provider: { endpoint: "e", conditionalCreate: "unknown" } });
    assert.deepEqual(rowsThat(report, "warn"), ["put-id"]);
    assert.equal(report.verdict, "fit with warnings: put-id");
  });

  it("a clock that is 15 s off is worth a warning", async () => {
    for (const skew of [15_000, -15_000]) {
      const lie: Lie = (inner) => ({
        head: (path) =>
          Effect.map(inner.head(path), (meta) => ({ ...meta, lastModifiedMillis: meta.lastModifiedMillis + skew })),
      });
      const report = await examine(lying(lie).store);
      assert.deepEqual(rowsThat(report, "warn"), ["clock"]);
      assert.match(detailOf(report, "clock"), skew > 0 ? /ahead of/ : /behind/);
    }
  });

  it("makes the requests that it planned, quick or not", async () => {
    for (const quick of [true, false]) {
      const store = memoryStore();
      const planned = await Effect.runPromise(plannedRequests(store, { quick }));
      assert.deepEqual((await examine(store, { quick })).requests, planned);
      const total = Object.values(planned).reduce((sum, count) => sum + count, 0);
      assert.ok(quick ? total < 320 : total < 700, `${total} requests`);
    }
  });
});

describe("examineStore in trouble", () => {
  it("a slow store is warned of, with figures in the time of the clock", async () => {
    const report = await examineSlow(faultyStore(memoryStore(), { latencyMillis: 1_500 }));
    assert.deepEqual(rowsThat(report, "fail"), []);
    assert.deepEqual(rowsThat(report, "warn"), ["latency", "throughput"]);
    const { figures } = report.rows.find(({ name }) => name === "latency")!;
    assert.deepEqual([figures!["putP50Millis"], figures!["getP99Millis"]], [1_500, 1_500]);
  });

  it("tells the median from the slowest", async () => {
    const report = await examineSlow(faultyStore(memoryStore(), { latencyMillis: [10, 200], seed: 1 }), {});
    const { figures } = report.rows.find(({ name }) => name === "latency")!;
    const { putP50Millis, putP99Millis } = figures as Readonly<Record<string, number>>;
    assert.ok(putP50Millis! > 60 && putP50Millis! < 150 && putP99Millis! > 180, JSON.stringify(figures));
  });

  it("lost answers, passing errors and delays are no broken promise, whatever the seed", async () => {
    for (let seed = 0; seed < 6; seed++) {
      const plan: FaultPlan = {
        seed,
        latencyMillis: [1, 40],
        rules: [
          { op: ["put", "putIfAbsent", "delete", "copy"], rate: 0.05, fault: { kind: "after" } },
          { rate: 0.05, fault: { kind: "before" } },
          { op: ["putIfAbsent"], rate: 0.02, fault: { kind: "before", outcome: "unknown" } },
        ],
      };
      const inner = memoryStore();
      const report = await examineSlow(faultyStore(inner, plan));
      assert.deepEqual(rowsThat(report, "fail"), [], JSON.stringify(report.rows));
      assert.deepEqual(inner.objects(), []);
    }
  });

  it("a store that cannot be reached has one failed row, and the others are skipped", async () => {
    const store = faultyStore(memoryStore());
    store.controls.setOutage(true, "permission");
    const report = await examine(store);
    assert.deepEqual(rowsThat(report, "fail"), ["reachable"]);
    assert.equal(rowsThat(report, "skipped").length, DOCTOR_ROWS.length - 1);
    assert.match(detailOf(report, "reachable"), /permission/);
    assert.ok(report.left.length > 0, "what was tried may be there");
  });

  it("a request that never answers ends its row, not the examination", async () => {
    const store = faultyStore(memoryStore(), {
      rules: [{ op: "copy", nth: 1, times: 100, fault: { kind: "hang", when: "before" } }],
    });
    const report = await examineSlow(store);
    assert.deepEqual(rowsThat(report, "fail"), ["copy"]);
    assert.match(detailOf(report, "copy"), /timeout/);
  });

  it("objects that cannot be deleted are named", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner, {
      rules: [{ op: "delete", rate: 1, fault: { kind: "before", reason: "permission", retryable: false } }],
    });
    const heard: string[] = [];
    const report = await examine(store, { ...QUICK, onLeft: (paths) => heard.push(...paths) });
    assert.ok(rowsThat(report, "fail").includes("delete"));
    assert.deepEqual(report.left.filter((path) => inner.peek(path) !== undefined).sort(), [...inner.objects()].sort());
    assert.deepEqual(heard, report.left);
  });

  it("an interruption at any request leaves nothing behind", async () => {
    const total = (await examine(faultyStore(memoryStore()))).requests;
    const count = Object.values(total).reduce((sum, one) => sum + one, 0);
    for (let at = 0; at < count; at += 7) {
      const inner = memoryStore();
      const clock = virtualClock(1_000_000);
      const running = Effect.runFork(
        Effect.provideContext(examineStore(slowFrom(faultyStore(inner), at, clock), QUICK), virtualClockContext(clock)),
        { scheduler: clock.scheduler },
      );
      await clock.settle();
      const ended = Effect.runPromise(Fiber.interrupt(running));
      for (let i = 0; i < 20; i++) await clock.advance(10_000);
      await ended;
      assert.deepEqual(inner.objects(), [], `interrupted at request ${at}`);
    }
  });
});

/** A store whose request `at` takes 5 s, also where nobody waits for it any more; the ones after it are quick. */
function slowFrom(store: ObjectStoreShape, at: number, clock: VirtualClock): ObjectStoreShape {
  let count = 0;
  const slowly = <A>(request: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      if (count++ !== at) return request;
      const later = Effect.delay(request, 5_000);
      const unseen = Effect.sync(() =>
        void Effect.runFork(Effect.provideContext(later, virtualClockContext(clock)), { scheduler: clock.scheduler })
      );
      return Effect.onInterrupt(later, () => unseen);
    });
  return {
    ...store,
    get: (path) => slowly(store.get(path)),
    getRange: (path, range) => slowly(store.getRange(path, range)),
    head: (path) => slowly(store.head(path)),
    put: (path, body) => slowly(store.put(path, body)),
    putIfAbsent: (path, body, identity) => slowly(store.putIfAbsent(path, body, identity)),
    list: (prefix, after) => slowly(store.list(prefix, after)),
    delete: (path) => slowly(store.delete(path)),
    copy: (source, target) => slowly(store.copy(source, target)),
  };
}
