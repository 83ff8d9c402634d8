/**
 * What keeps a database in S3 small and lets others see it, once from end to end: reader, compaction, checkpoint, clone,
 * collection; and the same database reached by its location as text.
 *
 * @module
 */
import process from "node:process";
import { Effect } from "effect";
import { clone, collectGarbage, compactOnce, deleteClone, open, openReader } from "../../mod.ts";
import type { Reads } from "../../src/db/api.ts";
import type { S3Store } from "../../src/s3.ts";
import { listAll } from "../../src/store/list_all.ts";
import { hurriedClock } from "../support/hurried_clock.ts";
import { waitUntil } from "../support/s3/processes.ts";
import { assert, it } from "../support/suite.ts";
import { describeOnServers, freshFolder, onS3 } from "./places.ts";

const SMALL = { l0SstSizeBytes: 6000, blockSizeBytes: 1024, minFilterKeys: 1 } as const;
const ALONE = { ...SMALL, compactor: false, garbageCollector: false } as const;
const EVERYTHING = { minAgeMillis: 0, walFenceMinAgeMillis: 0, allowUnsafeAge: true } as const;
const ROWS = 100;

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const keyOf = (n: number) => `row ${String(n).padStart(4, "0")}`;
const valueOf = (n: number, round: number) => `${round} ${"v".repeat(n)}`;

async function rowsOf(reads: Reads): Promise<Map<string, string>> {
  return new Map((await reads.scan().toArray()).map(({ key, value }) => [text(key), text(value)]));
}

/** Names below a root, without it, by folder. */
async function namesBelow(store: S3Store, root: string): Promise<Map<string, string[]>> {
  const names = new Map<string, string[]>();
  await Effect.runPromise(listAll(store, `${root}/`, undefined, ({ path }) => {
    const [folder = "", name = ""] = path.slice(root.length + 1).split("/");
    names.set(folder, [...names.get(folder) ?? [], name]);
  }));
  return names;
}

/** The rows of rounds 0 to `last`: every round overwrites all rows and deletes one in ten. */
function expected(last: number): Map<string, string> {
  const rows = new Map<string, string>();
  for (let n = 0; n < ROWS; n++) if (n % 10 !== last % 10) rows.set(keyOf(n), valueOf(n, last));
  return rows;
}

async function writeRound(db: Awaited<ReturnType<typeof open>>, round: number): Promise<void> {
  for (let n = 0; n < ROWS; n++) await db.put(keyOf(n), valueOf(n, round), { durable: false });
  for (let n = round % 10; n < ROWS; n += 10) await db.delete(keyOf(n), { durable: false });
  await db.flush({ kind: "memtable" });
}

describeOnServers("end to end", (place) => {
  it("reader, compaction, checkpoint, clone and collection work on one bucket", () =>
    onS3(place, async (store, root) => {
      const db = await open({ store, path: root }, ALONE);
      await writeRound(db, 0);
      const reader = await openReader({ store, path: root }, { manifestPollIntervalMillis: 60_000 });
      assert.deepEqual(await rowsOf(reader), expected(0));
      await writeRound(db, 1);
      const { id } = await db.checkpoint();
      await writeRound(db, 2);
      await db.put("in the log", "only");
      const { runs: none } = await db.tables();
      assert.equal(none.length, 0);
      await db.compact();
      const { l0, runs } = await db.tables();
      assert.equal(l0.length + runs.length, 1);
      assert.ok(runs[0]!.tables.length > 0);

      assert.deepEqual(await rowsOf(reader), expected(0), "a reader stays where it was");
      await reader.refresh();
      assert.deepEqual(await rowsOf(reader), new Map([...expected(2), ["in the log", "only"]]));
      await reader.close();

      const cloned = `${root}-clone`;
      await clone({ store, path: root }, { store, path: cloned }, { checkpoint: id });
      const copy = await open({ store, path: cloned }, ALONE);
      assert.deepEqual(await rowsOf(copy), expected(1));
      await copy.put("of the clone", "1");
      assert.equal(await db.get("of the clone"), undefined);

      // The clone pins the tables of its checkpoint: a collection takes only what neither of the two reaches.
      const before = await namesBelow(store, root);
      assert.equal((await db.collectGarbage()).stopped, undefined);
      const report = await collectGarbage({ store, path: root }, EVERYTHING);
      assert.equal(report.stopped, undefined);
      const kept = await namesBelow(store, root);
      assert.ok(kept.get("manifest")!.length < before.get("manifest")!.length, "no manifest was collected");
      assert.deepEqual(await rowsOf(copy), new Map([...expected(1), ["of the clone", "1"]]));
      assert.deepEqual(await rowsOf(db), new Map([...expected(2), ["in the log", "only"]]));
      await copy.close();

      await deleteClone({ store, path: cloned });
      await db.deleteCheckpoint(id);
      await db.close();
      // The store tells the time: a clock that is a day ahead does not end the checkpoint of the compaction.
      const tomorrow = hurriedClock(1, 86_400_000);
      const again = await open({ store, path: root }, { ...ALONE, clock: tomorrow, garbageCollector: EVERYTHING });
      assert.deepEqual((await again.collectGarbage()).expiredCheckpoints, []);
      assert.deepEqual((await namesBelow(store, root)).get("compacted"), kept.get("compacted"));
      for (const checkpoint of await again.checkpoints()) await again.deleteCheckpoint(checkpoint.id);
      const named = (await again.tables()).runs.flatMap(({ tables }) => tables.map((table) => `${table.id}.sst`));
      assert.ok(kept.get("compacted")!.length > named.length);
      // Ages are whole seconds here.
      await waitUntil("the end of tables that nothing reaches", 10_000, async () => {
        assert.equal((await again.collectGarbage()).stopped, undefined);
        return (await namesBelow(store, root)).get("compacted")!.length <= named.length;
      });
      assert.deepEqual((await namesBelow(store, root)).get("compacted"), named.sort());
      assert.deepEqual(await rowsOf(again), new Map([...expected(2), ["in the log", "only"]]));
      await again.close();
    }));

  it("a location as text reaches the same database, for every call", async () => {
    const { endpoint, bucket, region, accessKeyId, secretAccessKey } = place;
    const root = freshFolder();
    const location = (path: string) =>
      `s3://${bucket}/${path}?endpoint=${encodeURIComponent(endpoint)}&region=${region}&pathStyle=true`;
    await withVariables({ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }, async () => {
      const db = await open(location(root), ALONE);
      await writeRound(db, 0);
      await writeRound(db, 1);
      await db.close();
      const compacted = await compactOnce(location(root), {
        scheduler: "size-tiered",
        minCompactionSources: 2,
      });
      assert.ok(compacted !== undefined);
      const reader = await openReader(location(root));
      assert.deepEqual(await rowsOf(reader), expected(1));
      await reader.close();
      await clone(location(root), location(`${root}-clone`));
      assert.equal((await collectGarbage(location(root), { dryRun: true })).stopped, undefined);
      const copy = await openReader(location(`${root}-clone`));
      assert.deepEqual(await rowsOf(copy), expected(1));
      await copy.close();
    });
    await onS3(place, async (store) => {
      const db = await open({ store, path: root }, ALONE);
      assert.deepEqual(await rowsOf(db), expected(1));
      assert.ok((await db.tables()).runs.length > 0);
      await db.close();
    });
  });
});

/** Runs `work` with variables of the environment set, and puts back what was there. */
async function withVariables(variables: Readonly<Record<string, string>>, work: () => Promise<void>): Promise<void> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  try {
    await work();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
