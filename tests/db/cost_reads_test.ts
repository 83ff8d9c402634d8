/**
 * What reads and openings ask of the store, counted exactly.
 *
 * SlateDB 0.12.1 was counted at 0.87 to 1.11 GETs and 5.7 kB per cold point read, 3.0 with no cache, 5.4 and 35.6 per
 * cold scan of 100 rows of 116 bytes and 1 KiB, and 6.25 per scan of ten rows over several runs.
 */
import { open } from "../../mod.ts";
import { keyOf, makeValues } from "../../bench/rows.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { WriteBatch } from "../../src/db/write_batch.ts";
import { assert, describe, it } from "../support/suite.ts";

const GET_KINDS = ["get", "getRange", "getRanges"];

/** GETs and bytes read so far. */
function readsOf(db: Db): { gets: number; bytes: number } {
  const { requests, bytesRead } = db.cost();
  let gets = 0;
  for (const kinds of Object.values(requests)) for (const kind of GET_KINDS) gets += kinds[kind] ?? 0;
  return { gets, bytes: bytesRead };
}

/** GETs and bytes of `work`, per `count`. */
async function costOf(db: Db, count: number, work: () => Promise<unknown>): Promise<{ gets: number; bytes: number }> {
  const before = readsOf(db);
  await work();
  const after = readsOf(db);
  return { gets: (after.gets - before.gets) / count, bytes: (after.bytes - before.bytes) / count };
}

/** A database of `rows` rows in one run, or the given number of runs that overlap; closed. */
async function filled(rows: number, valueBytes: number, runs: number = 1): Promise<MemoryStore> {
  const store = memoryStore();
  const db = await open({ store, path: "" }, { compactor: false, garbageCollector: false });
  const values = makeValues(valueBytes);
  for (let run = 0; run < runs; run++) {
    for (let i = run; i < rows;) {
      const batch = new WriteBatch();
      for (let n = 0; n < 1000 && i < rows; n++, i += runs) batch.put(keyOf(i), values[i & 63]!);
      await db.write(batch, { durable: false });
    }
    await db.flush({ kind: "memtable" });
  }
  if (runs === 1) await db.compact();
  await db.close();
  return store;
}

const QUIET: OpenOptions = { compactor: false, garbageCollector: false };
const NO_CACHE: OpenOptions = { ...QUIET, blockCacheBytes: 0 };
/** Row numbers that look random but are the same each time. */
const some = (count: number, rows: number): number[] => Array.from({ length: count }, (_, i) => (i * 7919 + 13) % rows);

const ROWS = 100_000;
let hundred: Promise<MemoryStore> | undefined = undefined;
let kilo: Promise<MemoryStore> | undefined = undefined;
/** Rows of 116 bytes in one run. */
const smallRows = (): Promise<MemoryStore> => hundred ??= filled(ROWS, 100);
/** Rows of 1 KiB in one run. */
const largeRows = (): Promise<MemoryStore> => kilo ??= filled(20_000, 1008);

describe("cost of reads", () => {
  it("K5 and K7 a cold point read is at most one GET of one block, once index and filter are in memory", async () => {
    const db = await open({ store: await smallRows(), path: "" }, QUIET);
    const read = async (i: number) => assert.ok(await db.get(keyOf(i)) !== undefined);
    assert.equal((await costOf(db, 1, () => read(5))).gets, 2, "filter and index in one, then the block");
    const cold = await costOf(db, 200, async () => {
      for (const i of some(200, ROWS)) await read(i);
    });
    assert.ok(cold.gets > 0.9 && cold.gets <= 1, `${cold.gets} GETs`);
    assert.ok(cold.bytes <= 4_500, `${cold.bytes} bytes`);
    await db.close();
  });

  it("K7 index and filter included, 2000 first reads take at most 5 kB each", async () => {
    const db = await open({ store: await smallRows(), path: "" }, QUIET);
    const cold = await costOf(db, 2000, async () => {
      for (const i of some(2000, ROWS)) await db.get(keyOf(i));
    });
    assert.ok(cold.gets <= 1.02 && cold.bytes <= 5_000, `${cold.gets} GETs, ${cold.bytes} bytes`);
    await db.close();
  });

  it("K5 a key that is not there costs nothing", async () => {
    const db = await open({ store: await smallRows(), path: "" }, QUIET);
    await db.get(keyOf(5));
    const missing = await costOf(db, 500, async () => {
      for (let i = 0; i < 500; i++) assert.equal(await db.get(keyOf(ROWS + i)), undefined);
    });
    assert.ok(missing.gets <= 0.02, `${missing.gets} GETs per missing key`);
    await db.close();
  });

  it("K6 with nothing in memory a point read is two GETs, of a small table one", async () => {
    const db = await open({ store: await smallRows(), path: "" }, NO_CACHE);
    assert.equal((await costOf(db, 1, () => db.get(keyOf(5)))).gets, 2);
    const again = await costOf(db, 200, async () => {
      for (let n = 0; n < 200; n++) await db.get(keyOf(5));
    });
    assert.equal(again.gets, 1, "the block is not kept");
    await db.close();
    const small = await open({ store: await filled(200, 100), path: "" }, NO_CACHE);
    assert.equal((await costOf(small, 1, () => small.get(keyOf(5)))).gets, 1);
    await small.close();
  });

  it("K8 a cold scan of 100 rows is one GET of rows of 116 bytes, two of rows of 1 KiB, and one for the index", async () => {
    for (const [store, gets] of [[await smallRows(), 1], [await largeRows(), 2]] as const) {
      for (const limit of [100, undefined]) {
        const db = await open({ store, path: "" }, NO_CACHE);
        const scan = async (i: number) => {
          const rows = db.scan({ gte: keyOf(i) }, limit === undefined ? {} : { limit }).iterator();
          for (let n = 0; n < 100; n++) if (await rows.next() === undefined) break;
          await rows.return();
        };
        assert.equal((await costOf(db, 1, () => scan(77))).gets, gets + 1);
        const cold = await costOf(db, 200, async () => {
          for (const i of some(200, 20_000)) await scan(i);
        });
        assert.ok(cold.gets <= gets, `${cold.gets} GETs`);
        await db.close();
      }
    }
  });

  it("K9 a cold scan of ten rows is one GET per source", async () => {
    const db = await open({ store: await filled(40_000, 100, 4), path: "" }, NO_CACHE);
    await db.scan({ gte: keyOf(77) }, { limit: 10 }).toArray();
    const cold = await costOf(db, 500, async () => {
      for (const i of some(500, 40_000)) await db.scan({ gte: keyOf(i) }, { limit: 10 }).toArray();
    });
    assert.ok(cold.gets <= 4.2, `${cold.gets} GETs for four sources`);
    await db.close();
  });

  it("K12 fifty readers of one block share its GET", async () => {
    const clock = virtualClock(1000);
    const store = faultyStore(await smallRows());
    const db = await open({ store, path: "" }, { ...QUIET, clock });
    store.controls.setLatency(15);
    const cost = await costOf(db, 1, async () => {
      const reads = Array.from({ length: 50 }, () => db.get(keyOf(9)));
      await clock.advance(30);
      await Promise.all(reads);
    });
    assert.equal(cost.gets, 2, "index and filter, then the block");
    await Promise.all([db.close(), clock.advance(1000)]);
  });

  it("a getMany takes one round of requests, neighbours together", async () => {
    const clock = virtualClock(1000);
    const store = faultyStore(await smallRows());
    const db = await open({ store, path: "" }, { ...QUIET, clock });
    await db.get(keyOf(9));
    store.controls.setLatency(15);
    const keys = some(30, ROWS).map(keyOf);
    const cost = await costOf(db, 1, async () => {
      const reads = db.getMany([...keys, ...keys]);
      await clock.advance(15);
      assert.ok((await reads).every((value) => value !== undefined));
    });
    assert.ok(cost.gets <= 30, `${cost.gets} GETs`);
    await Promise.all([db.close(), clock.advance(1000)]);
  });
});
