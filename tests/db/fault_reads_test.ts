import { open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { DataError, Unavailable } from "../../src/errors.ts";
import type { Fault, FaultyOp } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";

const READS: ReadonlyArray<FaultyOp> = ["get", "getRange", "getRanges"];
const KEYS = Array.from({ length: 200 }, (_, i) => `key ${String(i).padStart(4, "0")}`);
const options: OpenOptions = { blockSizeBytes: 1024, minFilterKeys: 1, compression: "lz4" };

/** A closed database with two tables of several blocks and a tail in the log. */
async function prepared(): Promise<MemoryStore> {
  const world = new World(options);
  const db = await world.open();
  for (let table = 0; table < 2; table++) {
    for (const key of KEYS) {
      if (key.endsWith("7") || table === 0) await db.put(key, `${key} in ${table}`, { durable: false });
    }
    await world.get(db.flush({ kind: "memtable" }));
  }
  await world.get(db.put("tail", "1"));
  await world.get(db.close());
  return world.inner;
}

const database = await prepared();

/** What a database that is read without faults answers. */
const expected = (key: string) => `${key} in ${key.endsWith("7") ? 1 : 0}`;

async function opened(extra: OpenOptions = {}): Promise<{ world: World; db: Db }> {
  const world = new World({ ...options, ...extra }, database.clone());
  return { world, db: await world.open() };
}

const DAMAGES: Record<string, Fault> = {
  "one byte changed": { kind: "corrupt" },
  "cut short": { kind: "short", bytes: 3 },
};

describe("a damaged body of a read", () => {
  for (const [name, fault] of Object.entries(DAMAGES)) {
    it(`${name}, once: the read is repeated and right`, async () => {
      for (let nth = 1; nth <= 4; nth++) {
        const { world, db } = await opened();
        world.store.controls.addRules({ op: READS, prefix: "compacted/", nth, fault });
        for (const key of KEYS.slice(0, 30)) assert.equal(text(await world.get(db.get(key))), expected(key));
        assert.equal((await world.get(db.scan().toArray())).length, KEYS.length + 1);
        await world.get(db.close());
      }
    });

    it(`${name}, always: a DataError that names the table, and other keys and writes go on`, async () => {
      const { world, db } = await opened();
      const table = world.paths("compacted").at(-1)!;
      world.store.controls.addRules({ op: READS, prefix: table, rate: 1, fault });
      let damaged = 0;
      for (const read of [() => db.get(KEYS[7]!), () => db.scan().toArray(), () => db.getMany(KEYS)]) {
        const outcome = await world.outcome<unknown>(read(), 40_000);
        assert.equal(outcome.ended, "error", name);
        if (outcome.ended === "error" && outcome.error instanceof DataError) {
          damaged++;
          assert.equal(outcome.error.object, table);
        }
      }
      assert.equal(damaged, 3);
      await world.get(db.put("other", "1"));
      assert.equal(text(await world.get(db.get("other"))), "1");
      assert.equal(text(await world.get(db.get("tail"))), "1");
      world.store.controls.quiet();
      assert.equal(text(await world.get(db.get(KEYS[7]!))), expected(KEYS[7]!), "damage is not remembered");
      await world.get(db.close());
    });
  }

  it("changed at any place while opening or reading: the right rows or a DataError, never anything else", async () => {
    for (const prefix of ["wal/", "compacted/"]) {
      let noticed = 0;
      for (let seed = 0; seed < 40; seed++) {
        const error = await readThrough(prefix, seed, true);
        assert.ok(error === undefined || error instanceof DataError, `${prefix}, seed ${seed}: ${String(error)}`);
        if (error !== undefined) noticed++;
      }
      assert.ok(noticed > 10, `only ${noticed} damaged reads of ${prefix} were noticed`);
    }
  });

  it("changed in the manifest, which has no checksum: never a defect", async () => {
    for (let seed = 0; seed < 60; seed++) {
      const error = await readThrough("manifest/", seed, false);
      const tag = (error as { _tag?: string } | undefined)?._tag;
      assert.ok(error === undefined || (tag !== undefined && tag !== "Internal"), `seed ${seed}: ${String(error)}`);
    }
  });
});

/** Opens and reads everything while bytes of objects below `prefix` change; answers the error, if there is one. */
async function readThrough(prefix: string, seed: number, compare: boolean): Promise<unknown> {
  const world = new World({ ...options, requestTimeoutMillis: 2000, ttl: "slatedb" }, database.clone(), true, seed);
  world.store.controls.addRules({ op: READS, prefix, nth: 1 + seed % 3, times: 1e9, fault: { kind: "corrupt" } });
  const outcome = await world.outcome(
    (async () => {
      const db = await open({ store: world.store, path: "" }, world.options);
      return await db.scan().toArray();
    })(),
    60_000,
  );
  assert.notEqual(outcome.ended, "never");
  if (outcome.ended === "value" && compare) {
    assert.equal(outcome.value.length, KEYS.length + 1, `${prefix}, seed ${seed}`);
    for (const { key, value } of outcome.value) {
      if (key.length > 4) assert.equal(text(value), expected(text(key)!), `${prefix}, seed ${seed}`);
    }
  }
  return outcome.ended === "error" ? outcome.error : undefined;
}

/** How long things may take, ms, when the store does not answer. */
const LIMIT = 3000;
const SLACK = 1100;

describe("a store that never answers", () => {
  it("open ends as Unavailable in time, whichever request hangs", async () => {
    const sound = new World(options, database.clone());
    await sound.open();
    const requests = sound.store.controls.requestCount;
    assert.ok(requests >= 6);
    for (let nth = 1; nth <= requests; nth++) {
      for (const when of ["before", "after"] as const) {
        const world = new World({ ...options, requestTimeoutMillis: LIMIT }, database.clone());
        world.store.controls.addRules({ nth, times: 1e9, fault: { kind: "hang", when } });
        const outcome = await world.outcome(open({ store: world.store, path: "" }, world.options), 60_000);
        assert.ok(
          outcome.ended === "error" && outcome.error instanceof Unavailable,
          `request ${nth}: ${outcome.ended}`,
        );
        assert.ok(outcome.afterMillis <= LIMIT + SLACK, `request ${nth} ${when}: ${outcome.afterMillis} ms`);
      }
    }
  });

  it("a new database, too", async () => {
    for (let nth = 1; nth <= 6; nth++) {
      const world = new World({ requestTimeoutMillis: LIMIT }, memoryStore());
      world.store.controls.addRules({ nth, times: 1e9, fault: { kind: "hang", when: "before" } });
      const outcome = await world.outcome(open({ store: world.store, path: "" }, world.options), 60_000);
      assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable, `request ${nth}: ${outcome.ended}`);
      assert.ok(outcome.afterMillis <= LIMIT + SLACK, `request ${nth}: ${outcome.afterMillis} ms`);
    }
  });

  const calls: Record<string, (db: Db) => Promise<unknown>> = {
    get: (db) => db.get(KEYS[7]!),
    getEntry: (db) => db.getEntry(KEYS[7]!),
    getMany: (db) => db.getMany(KEYS),
    scan: (db) => db.scan().toArray(),
    "descending scan": (db) => db.scan({}, { order: "descending" }).toArray(),
    "next of an iterator": (db) => db.scan({ gte: KEYS[0]! }).iterator().next(),
    "seek of an iterator": async (db) => {
      const iterator = db.scan().iterator();
      await iterator.seek(KEYS[50]!);
      return iterator.next();
    },
    "get in a snapshot": async (db) => {
      const snapshot = await db.snapshot();
      return snapshot.get(KEYS[7]!).finally(() => snapshot.release());
    },
    tables: (db) => db.tables(),
  };
  for (const [name, call] of Object.entries(calls)) {
    it(`${name} ends as Unavailable in time, and works once the store answers`, async () => {
      const { world, db } = await opened({ requestTimeoutMillis: LIMIT });
      world.store.controls.addRules({ op: READS, rate: 1, fault: { kind: "hang", when: "before" } });
      const outcome = await world.outcome(call(db), 60_000);
      assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable, `${outcome.ended}`);
      assert.ok(outcome.afterMillis <= LIMIT + SLACK, `${outcome.afterMillis} ms`);
      world.store.controls.quiet();
      await world.get(call(db));
      assert.equal(db.status.closeReason, undefined);
      await world.get(db.close());
    });
  }

  it("close ends in time when its requests hang, and everybody who waits is answered", async () => {
    for (const prefix of ["wal/", "compacted/", "manifest/"]) {
      const { world, db } = await opened({ requestTimeoutMillis: LIMIT });
      world.store.controls.addRules({ op: "putIfAbsent", prefix, rate: 1, fault: { kind: "hang", when: "before" } });
      const put = db.put("late", "1");
      const flush = db.flush({ kind: "memtable" });
      put.catch(() => {});
      flush.catch(() => {});
      await world.clock.advance(100);
      const outcome = await world.outcome(db.close(), 60_000);
      assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable, `${prefix}: ${outcome.ended}`);
      assert.ok(outcome.afterMillis <= LIMIT + SLACK, `${prefix}: ${outcome.afterMillis} ms`);
      assert.notEqual((await world.outcome(put, 100)).ended, "never", `${prefix}: the put`);
      assert.notEqual((await world.outcome(flush, 100)).ended, "never", `${prefix}: the flush`);
    }
  });

  it("a flush that hangs holds up no read, and a lost answer of one request does not hold up the writer for ever", async () => {
    const { world, db } = await opened({ requestTimeoutMillis: LIMIT });
    world.store.controls.addRules({
      op: "putIfAbsent",
      prefix: "wal/",
      rate: 1,
      fault: { kind: "hang", when: "before" },
    });
    const put = db.put("late", "1");
    put.catch(() => {});
    await world.clock.advance(100);
    assert.equal(text(await world.get(db.get(KEYS[7]!))), expected(KEYS[7]!));
    assert.equal(text(await db.get("late")), "1");
    assert.equal((await world.get(db.scan().toArray())).length, KEYS.length + 2);
  });
});
