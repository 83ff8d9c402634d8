/**
 * Writers on endpoints of which nobody knows whether they honour conditional creates.
 *
 * The lying store keeps everything but that promise, from a moment on: a create of an object that exists replaces it.
 */
import { Effect } from "effect";
import { open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { CheckedEndpoints, RECHECK_BYTES, RECHECK_MILLIS } from "../../src/db/conditional_check.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { Closed, InvalidArgument, StoreError, Unavailable } from "../../src/errors.ts";
import { parseNumberedName, walPath } from "../../src/format/paths.ts";
import { encodeEmptySst } from "../../src/format/sst_builder.ts";
import type { Fault } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape, StoreProvider } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { contentsOf, withoutPutIds, World } from "./fault_world.ts";

const ENDPOINT = "s3://bucket at https://s3.example.com";
const UNKNOWN: StoreProvider = { endpoint: ENDPOINT, conditionalCreate: "unknown" };
const QUIET: OpenOptions = { compactor: false, garbageCollector: false };

/** How a store answers a create of an object that exists. */
type Condition = "refuses" | "replaces" | "unsupported";

interface Liar extends ObjectStoreShape {
  readonly inner: MemoryStore;
  condition: Condition;
  /** Names of conditional creates that reached the store, in order. */
  readonly creates: string[];
}

function liar(condition: Condition, provider: StoreProvider | "none" = UNKNOWN): Liar {
  const inner = memoryStore();
  const creates: string[] = [];
  const store: Liar = {
    ...inner,
    inner,
    provider: provider === "none" ? undefined : provider,
    condition,
    creates,
    get: inner.get,
    putIfAbsent: (path, body, identity) =>
      Effect.suspend(() => {
        creates.push(path);
        if (store.condition === "refuses") return inner.putIfAbsent(path, body, identity);
        if (store.condition === "unsupported") {
          return Effect.fail(
            new StoreError({ op: "putIfAbsent", path, reason: "unsupported", retryable: false, outcome: "none" }),
          );
        }
        return Effect.andThen(inner.delete(path), inner.putIfAbsent(path, body, identity));
      }),
  };
  return store;
}

/** A world on `store`, whose faults come before it. */
function worldOn(store: Liar, putIds = true): World {
  return new World(QUIET, (putIds ? store : { ...store, ...withoutPutIds(store) }) as unknown as MemoryStore);
}

const manifests = (store: Liar) => store.inner.objects().filter((path) => path.startsWith("manifest/"));

describe("F4 opening on an endpoint that may not honour conditional creates", () => {
  it("a store that replaces is refused, and nothing was written but the claim", async () => {
    const sound = memoryStore();
    const before = await open({ store: sound, path: "" }, QUIET);
    await before.put("a", "1");
    await before.close();
    const store = liar("replaces");
    store.inner.restore(sound);
    const held = new Set(store.inner.objects());
    const error = await worldOn(store).open().then(() => undefined, (error) => error);
    assert.ok(error instanceof InvalidArgument, String(error));
    assert.equal(error.reason, "store-unfit");
    assert.match(error.message, /s3:\/\/bucket at https:\/\/s3\.example\.com/);
    assert.match(error.message, /phyllite doctor/);
    const written = store.inner.objects().filter((path) => !held.has(path));
    assert.deepEqual(written, [manifests(store).at(-1)], "only the manifest with the epoch was written");
    assert.deepEqual(await contentsOf(store.inner, QUIET), new Map([["a", "1"]]));
  });

  it("a store that knows no conditional creates is refused with the same error, at its first request", async () => {
    const store = liar("unsupported");
    const error = await worldOn(store).open().then(() => undefined, (error) => error);
    assert.ok(error instanceof InvalidArgument && error.reason === "store-unfit", String(error));
    assert.deepEqual(store.inner.objects(), []);
    assert.equal(store.creates.length, 1);
  });

  it("a store that refuses is asked once for each clock and endpoint, with one request more", async () => {
    const store = liar("refuses");
    const world = worldOn(store);
    await (await world.open()).close();
    const first = store.creates.splice(0);
    assert.equal(first.filter((path) => path === first[0]).length, 2, "the first object is put twice");
    const plain = liar("refuses", "none");
    await (await worldOn(plain).open()).close();
    assert.equal(first.length, plain.creates.length + 1);
    await (await world.open()).close();
    const second = store.creates.splice(0);
    assert.equal(new Set(second).size, second.length, "nothing is put twice");
    const other = { ...store, provider: { ...UNKNOWN, endpoint: "another" } };
    await world.get(open({ store: other, path: "other" }, { ...world.options, clock: world.clock }), 100_000);
    assert.equal(new Set(store.creates).size, store.creates.length - 1, "another endpoint is asked");
  });

  it("an epoch that is claimed in an existing database is what is put twice", async () => {
    const store = liar("refuses");
    await (await worldOn(store).open()).close();
    store.creates.length = 0;
    await (await worldOn(store).open()).close();
    assert.equal(store.creates[0], store.creates[1]);
    assert.ok(store.creates[0]!.startsWith("manifest/"));
  });

  it("known endpoints and stores that name none are not asked", async () => {
    const sound: ReadonlyArray<StoreProvider | "none"> = ["none", { endpoint: ENDPOINT, conditionalCreate: "known" }];
    for (const provider of sound) {
      const store = liar("replaces", provider);
      await (await worldOn(store).open()).close();
      assert.equal(new Set(store.creates).size, store.creates.length);
    }
  });

  it("a log in a store of its own is asked with its fence", async () => {
    for (const condition of ["refuses", "replaces"] as const) {
      const tables = liar("refuses", { endpoint: "tables", conditionalCreate: "unknown" });
      const log = liar(condition, { endpoint: "log", conditionalCreate: "unknown" });
      const opened = worldOn(tables).open({ wal: { store: log } });
      if (condition === "refuses") {
        await (await opened).close();
        assert.equal(log.creates[0], log.creates[1]);
        assert.equal(log.creates.length, 2);
      } else {
        const error = await opened.then(() => undefined, (error) => error);
        assert.ok(error instanceof InvalidArgument && error.reason === "store-unfit", String(error));
        assert.match(error.message, /object store log /);
      }
    }
  });

  it("a log on the same endpoint as the tables is not asked again", async () => {
    const tables = liar("refuses");
    const log = liar("refuses");
    await (await worldOn(tables).open({ wal: { store: log } })).close();
    assert.equal(log.creates.length, 1);
  });
});

describe("F4 answers that are lost while the endpoint is asked", () => {
  const FAULTS: ReadonlyArray<readonly [string, Fault]> = [
    ["done, answer lost", { kind: "after" }],
    ["not done, unknown", { kind: "before", outcome: "unknown" }],
    ["not done", { kind: "before" }],
  ];
  for (const putIds of [true, false]) {
    const kept = putIds ? "put-ids kept" : "no put-ids";
    for (const [name, fault] of FAULTS) {
      it(`a store that refuses passes: ${name}, ${kept}`, async () => {
        const world = worldOn(liar("refuses"), putIds);
        world.store.controls.addRules({ op: "putIfAbsent", nth: 2, fault });
        await (await world.open()).close();
        assert.equal(world.store.controls.struck()[fault.kind], 1);
      });
      it(`a store that replaces does not: ${name}, ${kept}`, async () => {
        const world = worldOn(liar("replaces"), putIds);
        world.store.controls.addRules({ op: "putIfAbsent", nth: 2, fault });
        const error = await world.open().then(() => undefined, (error) => error);
        assert.ok(error instanceof InvalidArgument && error.reason === "store-unfit", String(error));
      });
    }
  }

  it("a store that replaced, lost the answer and then refuses is caught by the put-id", async () => {
    const store = liar("replaces");
    const world = worldOn(store);
    const put = store.putIfAbsent;
    let calls = 0;
    const turning: ObjectStoreShape = {
      ...store,
      putIfAbsent: (path, body, identity) =>
        Effect.suspend(() => {
          if (++calls === 3) store.condition = "refuses";
          const done = put(path, body, identity);
          if (calls !== 2) return done;
          const lost = new StoreError({
            op: "putIfAbsent",
            path,
            reason: "timeout",
            retryable: true,
            outcome: "unknown",
          });
          return Effect.andThen(done, Effect.fail(lost));
        }),
    };
    const error = await world.error(open({ store: turning, path: "" }, { ...world.options }), 100_000);
    assert.ok(error instanceof InvalidArgument && error.reason === "store-unfit", String(error));
    assert.equal(calls, 3);
  });

  it("an endpoint that never answers the second put is no pass: opening fails for the time", async () => {
    const world = worldOn(liar("refuses"));
    world.store.controls.addRules({ op: "putIfAbsent", nth: 2, times: 1_000, fault: { kind: "before" } });
    const error = await world.open().then(() => undefined, (error) => error);
    assert.ok(error instanceof Unavailable && error.reason === "unavailable", String(error));
  });

  it("a creation that is answered so late that the object may be another tells nothing: the store is asked again", async () => {
    for (const condition of ["replaces", "refuses"] as const) {
      const store = liar("replaces");
      const turning: Liar = {
        ...store,
        get: store.get,
        putIfAbsent: (...put) =>
          Effect.suspend(() => {
            if (store.creates.length === 2) store.condition = condition;
            return store.putIfAbsent(...put);
          }),
      };
      const world = worldOn(turning);
      world.store.controls.addRules({ op: "putIfAbsent", nth: 2, fault: { kind: "delay", millis: 29_000 } });
      world.store.controls.addRules({ op: "putIfAbsent", nth: 1, fault: { kind: "delay", millis: 2_000 } });
      const error = await world.open().then((db) => world.get(db.close()), (error) => error);
      assert.deepEqual(store.creates.slice(0, 3), Array(3).fill(store.creates[0]));
      if (condition === "refuses") assert.equal(error, undefined);
      else assert.ok(error instanceof InvalidArgument && error.reason === "store-unfit", String(error));
    }
  });
});

/** Opens, writes one row durably, and lets an hour pass. */
async function anHourLater(
  store: Liar,
  options: OpenOptions = {},
): Promise<{ readonly world: World; readonly db: Db }> {
  const world = worldOn(store);
  const db = await world.open({ flushIntervalMillis: null, ...options });
  await world.get(Promise.all([db.put("before", "1"), db.flush({ kind: "memtable" })]));
  await world.clock.advance(RECHECK_MILLIS);
  store.creates.length = 0;
  return { world, db };
}

describe("F4 an endpoint that stops honouring conditional creates under a writer", () => {
  it("the log object that shows it is not acknowledged, and the writer stops with the reason", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store);
    store.condition = "replaces";
    const error = await world.error(db.put("after", "2"));
    assert.ok(error instanceof Closed && error.reason === "failed", String(error));
    assert.match(error.message, /took a conditional write/);
    assert.match(error.message, /phyllite doctor/);
    assert.equal(db.status.closeReason, "failed");
    assert.equal((await world.error(db.put("x", "3")) as Closed).message, error.message);
    store.condition = "refuses";
    const rows = await contentsOf(store.inner, QUIET);
    assert.equal(rows.get("before"), "1", "what was acknowledged is there");
  });

  it("a manifest commit shows it too: no table counts as published", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store, { wal: false });
    store.condition = "replaces";
    await world.get(db.put("after", "2", { durable: false }));
    const error = await world.error(db.flush({ kind: "memtable" }));
    assert.ok(error instanceof Closed && error.reason === "failed", String(error));
    assert.match(error.message, /took a conditional write/);
  });

  it("a checkpoint's commit shows it too, and closes the writer", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store);
    store.condition = "replaces";
    const error = await world.error(db.checkpoint());
    assert.ok(error instanceof Closed && error.reason === "failed", String(error));
    assert.equal(db.status.closeReason, "failed");
  });

  it("unsupported as the answer stops the writer at once, whether its turn had come or not", async () => {
    for (const conditionalCreate of ["known", "unknown"] as const) {
      const store = liar("refuses", { endpoint: ENDPOINT, conditionalCreate });
      const world = worldOn(store);
      const db = await world.open();
      store.condition = "unsupported";
      const error = await world.error(db.put("a", "1"));
      assert.ok(error instanceof Closed && error.reason === "failed", String(error));
      assert.match(error.message, /knows no conditional writes/);
    }
  });

  it("asks once an hour of writing and not at rest, with one request each", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store);
    await world.clock.advance(24 * RECHECK_MILLIS);
    assert.deepEqual(store.creates, [], "rest costs nothing");
    for (let i = 0; i < 5; i++) await world.get(db.put("a", `${i}`));
    assert.equal(store.creates.length, 6);
    assert.equal(store.creates[0], store.creates[1]);
    store.creates.length = 0;
    await world.clock.advance(RECHECK_MILLIS - 1_000);
    await world.get(db.put("a", "x"));
    assert.equal(store.creates.length, 1, "the hour is not over");
    await world.clock.advance(1_000);
    await world.get(db.put("a", "y"));
    assert.equal(store.creates.length, 3);
    await world.get(db.close());
  });

  it("writers of one endpoint share what one of them found out", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store);
    const other = await world.get(
      open({ store: world.store, path: "other" }, { ...world.options, clock: world.clock }),
      100_000,
    );
    store.creates.length = 0;
    await world.get(db.put("a", "1"));
    assert.equal(store.creates.length, 1);
    await world.get(Promise.all([db.close(), other.close()]));
  });

  it("does not put large objects twice: the next small one shows it", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store);
    await world.get(db.put("large", new Uint8Array(RECHECK_BYTES + 1)));
    assert.equal(store.creates.length, 1);
    store.condition = "replaces";
    const error = await world.error(db.put("small", "1"));
    assert.ok(error instanceof Closed && error.reason === "failed", String(error));
  });

  it("an outage in the middle of it holds the answer back, and loses nothing", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store);
    world.store.controls.addRules({ op: "putIfAbsent", nth: 2, times: 20, fault: { kind: "after" } });
    const put = db.put("after", "2");
    assert.equal((await world.outcome(put, 5_000)).ended, "never", "nothing is told before the store refused");
    world.store.controls.quiet();
    await world.get(put);
    await world.get(db.close());
    assert.equal((await contentsOf(store.inner, QUIET)).get("after"), "2");
  });

  it("a check that could not be made is made with the next object", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store);
    const refused: Fault = { kind: "before", reason: "permission", retryable: false };
    world.store.controls.addRules({ op: "putIfAbsent", nth: 2, fault: refused });
    await world.get(db.checkpoint(), 100_000);
    assert.equal(world.store.controls.struck()["before"], 1);
    world.store.controls.addRules({ op: "putIfAbsent", nth: 2, times: 1_000, fault: { kind: "before" } });
    assert.ok(await world.error(db.checkpoint(), 100_000) instanceof Unavailable);
    world.store.controls.quiet();
    store.condition = "replaces";
    const error = await world.error(db.put("after", "2"));
    assert.ok(error instanceof Closed && error.reason === "failed", String(error));
  });

  it("what another has created is not put again", async () => {
    const store = liar("refuses");
    const { world, db } = await anHourLater(store);
    const log = store.inner.objects().filter((path) => path.startsWith("wal/"));
    const next = parseNumberedName(log.at(-1)!)! + 1;
    store.inner.plant(walPath("", next), encodeEmptySst());
    assert.equal((await world.error(db.put("after", "2")) as Closed).reason, "fenced");
    assert.deepEqual(store.creates, [walPath("", next)]);
  });

  it("a writer that opens after the loss asks again, however short it was", async () => {
    const store = liar("refuses");
    const world = worldOn(store);
    const db = await world.open();
    store.condition = "unsupported";
    await world.error(db.put("a", "1"));
    store.condition = "replaces";
    const error = await world.open().then(() => undefined, (error) => error);
    assert.ok(error instanceof InvalidArgument && error.reason === "store-unfit", String(error));
  });
});

describe("checkedEndpoints", () => {
  const at = (millis: number) => ({ wall: millis, monotonic: millis });

  it("remembers 64 endpoints of a clock, the latest ones, and nothing of another clock", () => {
    const memory = new CheckedEndpoints();
    const clock = virtualClock();
    for (let i = 0; i < 65; i++) memory.refused(clock, `e${i}`, at(0));
    assert.equal(memory.isDue(clock, "e0", at(1)), true);
    assert.equal(memory.isDue(clock, "e1", at(1)), false);
    assert.equal(memory.isDue(clock, "e64", at(1)), false);
    assert.equal(memory.isDue(virtualClock(), "e64", at(1)), true);
    memory.refused(clock, "e1", at(1));
    memory.refused(clock, "e65", at(1));
    assert.deepEqual(["e1", "e2", "e3"].map((name) => memory.isDue(clock, name, at(1))), [false, true, false]);
  });

  it("is due after an hour by either clock, and when forgotten", () => {
    const memory = new CheckedEndpoints();
    const clock = virtualClock();
    memory.refused(clock, "e", at(0));
    assert.equal(memory.isDue(clock, "e", { wall: RECHECK_MILLIS, monotonic: 0 }), true);
    assert.equal(memory.isDue(clock, "e", { wall: 0, monotonic: RECHECK_MILLIS }), true);
    assert.equal(memory.isDue(clock, "e", at(RECHECK_MILLIS - 1)), false);
    memory.forget(clock, "e");
    assert.equal(memory.isDue(clock, "e", at(0)), true);
  });
});
