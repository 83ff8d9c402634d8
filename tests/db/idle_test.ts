import { open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { collectGarbage } from "../../src/db/collect.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { compactOnce, openCompactor } from "../../src/db/standalone_compactor.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { Closed } from "../../src/errors.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";

const HOUR = 3_600_000;
const SETTLED_MILLIS = HOUR / 2;
const decoder = new TextDecoder();

/** Requests of all components. */
function requests(db: Db): number {
  let sum = 0;
  for (const kinds of Object.values(db.cost().requests)) for (const count of Object.values(kinds)) sum += count;
  return sum;
}

async function busyDatabase(options: OpenOptions) {
  const clock = virtualClock(1_000_000_000);
  const store = memoryStore();
  const db = await open({ store, path: "" }, { l0SstSizeBytes: 4096, blockSizeBytes: 1024, clock, ...options });
  for (let i = 0; i < 600; i++) {
    await db.put(`key ${i % 150}`, `value ${i} ${"x".repeat(40)}`, { durable: false });
    if (i % 50 === 49) {
      await db.flush({ kind: "memtable" });
      await clock.advance(20_000);
    }
  }
  return { clock, store, db };
}

for (
  const [name, options] of Object.entries<OpenOptions>({
    "with the WAL": {},
    "without a WAL": { wal: false },
    "leveled": { compactor: { scheduler: "leveled", levelBaseBytes: 8192, maxSstBytes: 4096 } },
  })
) {
  describe(`an idle database, ${name}`, () => {
    it("asks nothing of the store for ten hours, and holds no garbage", async () => {
      const { clock, store, db } = await busyDatabase(options);
      const compactions = db.cost().requests["compactor"];
      assert.ok(compactions !== undefined && db.status.l0Count < 4, "there were compactions");
      for (let i = 0; i < 30; i++) await clock.advance(SETTLED_MILLIS / 30);
      const settled = requests(db);
      for (let i = 0; i < 20; i++) await clock.advance(HOUR / 2);
      assert.equal(requests(db), settled, "requests in ten hours");
      const report = await db.collectGarbage();
      assert.deepEqual(Object.values(report.deleted).flat(), [], "garbage was left");
      assert.equal(store.objects().filter((path) => path.startsWith("manifest/")).length, 2);
      const rows = await db.scan().toArray();
      assert.equal(rows.length, 150);
      const put = db.put("after", "the night");
      await clock.advance(1000);
      await put;
      assert.equal(decoder.decode(await db.get("after")), "the night");
      await db.close();
    });

    it("takes over what a compaction that died had begun, and collects what it left", async () => {
      const { clock, store, db } = await busyDatabase({ ...options, compactor: false });
      const faulty = faultyStore(store);
      const doomed = await openCompactor({ store: faulty, path: "" }, { maxSstBytes: 2000, clock });
      await clock.advance(0);
      faulty.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", fault: { kind: "hang", when: "before" } });
      doomed.compact().catch(() => {});
      await clock.advance(100);
      faulty.controls.crash();
      const made = store.objects().filter((path) => path.startsWith("compacted/")).length;
      assert.ok(made > 600 * 4 / 50 / 4, `${made} tables`);
      const closed = db.close();
      await clock.advance(1000);
      await closed;
      const next = await open({ store, path: "" }, { l0SstSizeBytes: 4096, blockSizeBytes: 1024, clock, ...options });
      for (let i = 0; i < 60; i++) await clock.advance(SETTLED_MILLIS / 30);
      const named = (await next.tables()).l0.length + (await next.tables()).runs.flatMap((run) => run.tables).length;
      assert.equal(store.objects().filter((path) => path.startsWith("compacted/")).length, named, "orphans are left");
      assert.equal((await next.scan().toArray()).length, 150);
      await next.close();
    });

    it("that slept while another wrote, compacted and collected is fenced before its next acknowledgement", async () => {
      const { clock, store, db } = await busyDatabase(options);
      await clock.advance(HOUR);
      const other = await open({ store, path: "" }, { l0SstSizeBytes: 4096, blockSizeBytes: 1024, clock, ...options });
      for (let i = 0; i < 300; i++) {
        await other.put(`key ${i % 150}`, `newer ${i} ${"y".repeat(40)}`, { durable: false });
        if (i % 50 === 49) {
          await other.flush({ kind: "memtable" });
          await clock.advance(400_000);
        }
      }
      await other.compact();
      await clock.advance(HOUR);
      await other.collectGarbage();
      await other.close();
      const late = db.put("key 1", "from the past");
      late.catch(() => {});
      await clock.advance(60_000);
      await assert.rejects(late, (error) => error instanceof Closed && error.reason === "fenced");
      const after = await open({ store, path: "" }, { clock, ...options });
      assert.match(decoder.decode(await after.get("key 1")), /^newer/);
      await after.close();
    });

    it("still answers reads after a night in which others compacted and collected", async () => {
      const { clock, store, db } = await busyDatabase({ ...options, blockCacheBytes: 0 });
      await clock.advance(HOUR);
      const tables = store.objects().filter((path) => path.startsWith("compacted/"));
      await compactOnce({ store, path: "" }, { full: true, clock });
      await clock.advance(HOUR);
      await collectGarbage({ store, path: "" }, { clock });
      const left = store.objects().filter((path) => tables.includes(path));
      assert.ok(left.length < tables.length, "tables were collected");
      // Younger than the newest L0 table: a collector without a writer keeps it, the next one of a writer does not.
      for (const path of left) store.remove(path);
      const value = db.get("key 7");
      await clock.advance(1000);
      assert.match(decoder.decode(await value), /^value /);
      const rows = db.scan({}, { order: "descending" }).toArray();
      await clock.advance(1000);
      assert.equal((await rows).length, 150);
      const put = db.put("key 7", "awake");
      await clock.advance(1000);
      await put;
      assert.equal(decoder.decode(await db.get("key 7")), "awake");
      await db.close();
    });

    it("is told that it is fenced when it reads after a night in which another writer took over", async () => {
      const { clock, store, db } = await busyDatabase({ ...options, blockCacheBytes: 0 });
      await clock.advance(HOUR);
      const other = await open({ store, path: "" }, { l0SstSizeBytes: 4096, blockSizeBytes: 1024, clock, ...options });
      const compacted = other.compact();
      await clock.advance(HOUR);
      await compacted;
      await other.collectGarbage();
      const read = db.get("key 7");
      read.catch(() => {});
      await clock.advance(60_000);
      await assert.rejects(read, (error) => error instanceof Closed && error.reason === "fenced");
      await other.close();
    });
  });
}
