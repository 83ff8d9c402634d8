/**
 * Compaction in a thread: the same tables as without one, and whatever ends the thread ends only the job.
 *
 * @module
 */
import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { Effect, Fiber } from "effect";
import { TestClock } from "effect/testing";
import { clone, type Db, InvalidArgument, open, openCompactor, Unavailable, WriteBatch } from "../../mod.ts";
import { resolveCompactor } from "../../src/db/compactor_options.ts";
import type { Location } from "../../src/db/location.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { Ids, mintUuid, seededIds, UlidMint } from "../../src/env/ids.ts";
import { DataError, StoreError } from "../../src/errors.ts";
import { KnownTables } from "../../src/lsm/table_facts.ts";
import { CompactionsStore } from "../../src/state/compactions_store.ts";
import { ManifestHandle } from "../../src/state/manifest_handle.ts";
import { ManifestStore } from "../../src/state/manifest_store.ts";
import { folderStore } from "../../src/store/folder_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { metered, StoreMeter } from "../../src/store/metered_store.ts";
import { Supervisor } from "../../tasks/supervisor.ts";
import { threadRunner, type ThreadRunnerSpec } from "../../tasks/compaction_thread.ts";
import { storeFaultOf } from "../../tasks/compaction_thread_messages.ts";
import { Compactor } from "../../tasks/compactor.ts";
import { inFolder } from "../support/folders.ts";
import { canRunPrograms, canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { EMPTY_PLAN } from "./compaction_tables.ts";
import { closeInChild, ROWS } from "./compaction_thread_child.ts";

const skipDisk = canUseDisk() ? false : "needs permission to read and write files";
const skipPrograms = canRunPrograms() ? false : "needs permission to run programs";

const small: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  minFilterKeys: 10,
  compression: "lz4",
  garbageCollector: false,
};
const quiet = { minCompactionSources: 8, maxSstBytes: 2_000 };
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const program = (source: string): URL => new URL(`data:text/javascript,${encodeURIComponent(source)}`);

/** The number of a new thread: threads are numbered as they are started. */
async function nextThread(): Promise<number> {
  const worker = new Worker(program(""));
  const { threadId } = worker;
  await worker.terminate();
  return threadId;
}

/** Writes `tables` tables that overlap, with deletes and operands, and answers what a database holds then. */
async function fill(db: Db, tables: number, rangeDeletes = false): Promise<Map<string, string>> {
  const model = new Map<string, string>();
  for (let round = 0; round < tables; round++) {
    const batch = new WriteBatch();
    for (let i = 0; i < 300; i++) {
      const key = `k${String((i * 7 + round * 131) % 700).padStart(4, "0")}`;
      if ((i + round) % 9 === 0) {
        batch.delete(key);
        model.delete(key);
      } else {
        batch.put(key, `${round} ${"v".repeat(i % 40)}`);
        model.set(key, `${round} ${"v".repeat(i % 40)}`);
      }
    }
    if (rangeDeletes && round % 2 === 1) {
      const [gte, lt] = [`k0${round}00`, `k0${round + 1}50`];
      batch.deleteRange({ gte, lt });
      for (const key of model.keys()) if (key >= gte && key < lt) model.delete(key);
    }
    await db.write(batch, { durable: false });
    await db.flush({ kind: "memtable" });
  }
  return new Map([...model].sort(([a], [b]) => a < b ? -1 : 1));
}

async function rowsOf(db: Db): Promise<Map<string, string>> {
  return new Map((await db.scan().toArray()).map(({ key, value }) => [text(key), text(value)]));
}

/** A database of five tables in L0, closed; answers what it holds. */
async function prepare(folder: string, rangeDeletes = false): Promise<Map<string, string>> {
  const db = await open(folder, { ...small, compactor: false });
  const model = await fill(db, 5, rangeDeletes);
  await db.close();
  return model;
}

/** Compacts everything, checks the answers, and answers the objects of the run and the compactor's requests. */
async function compactedIn(folder: string, model: Map<string, string>, thread: boolean) {
  const db = await open(folder, { ...small, compactor: { ...quiet, thread } });
  await db.compact();
  assert.deepEqual(await rowsOf(db), model);
  const { l0, runs } = await db.tables();
  assert.deepEqual([l0.length, runs.length], [0, 1]);
  const ids = runs[0]!.tables.map(({ id }) => id);
  const { requests, bytesWritten, bytesRead } = db.cost();
  const later = await db.put("later", "1").then(() => db.flush({ kind: "memtable" })).then(() => db.tables());
  assert.ok(ids.every((id) => id < later.l0[0]!.id), "a later table has an earlier id");
  await db.close();
  const objects = ids.map((id) => readFileSync(join(folder, "compacted", `${id}.sst`)).toString("hex"));
  return { ids, objects, requests: requests.compactor!, bytes: [bytesWritten, bytesRead] };
}

describe("compaction in a thread", { skip: skipDisk }, () => {
  it("makes the same tables as without one, byte for byte, and its requests are counted", () =>
    inFolder(async (folder) => {
      const [here, there] = [join(folder, "here"), join(folder, "there")];
      const model = await prepare(here);
      cpSync(here, there, { recursive: true });
      const before = readdirSync(join(there, "compacted")).map((name) => name.replace(".sst", ""));
      const plain = await compactedIn(here, model, false);
      const started = await nextThread();
      const threaded = await compactedIn(there, model, true);
      assert.equal(await nextThread() - started, 2, "there was not one thread");
      assert.ok(plain.objects.length > 2, `${plain.objects.length} tables`);
      assert.deepEqual(threaded.objects, plain.objects);
      assert.deepEqual(threaded.requests, plain.requests);
      assert.equal(threaded.bytes[0], plain.bytes[0]);
      assert.ok(threaded.ids.every((id) => !plain.ids.includes(id)), "ids were made twice");
      assert.ok(threaded.ids.every((id) => before.every((older) => id > older)), "an id is older than the sources");
    }));

  it("makes the same tables of range deletes, too", () =>
    inFolder(async (folder) => {
      const [here, there] = [join(folder, "here"), join(folder, "there")];
      const model = await prepare(here, true);
      cpSync(here, there, { recursive: true });
      const plain = await compactedIn(here, model, false);
      const threaded = await compactedIn(there, model, true);
      assert.deepEqual(threaded.objects, plain.objects);
      assert.deepEqual(threaded.requests, plain.requests);
    }));

  it("keeps up with a writer, and a standalone compactor has it too", () =>
    inFolder(async (folder) => {
      const db = await open(folder, { ...small, l0MaxSsts: 6, compactor: { maxSstBytes: 9_000, thread: true } });
      const model = await fill(db, 14);
      assert.deepEqual(await rowsOf(db), model);
      assert.ok((await db.tables()).runs.length > 0, "nothing was compacted");
      await db.close();
      const compactor = await openCompactor(folder, { ...quiet, thread: true, compression: "none" });
      await compactor.compact();
      const { phase, l0Count, runCount } = compactor.status;
      assert.deepEqual([phase, l0Count, runCount], ["idle", 0, 1]);
      await compactor.close();
      const again = await open(folder, { ...small, compactor: false });
      assert.deepEqual(await rowsOf(again), model);
      await again.close();
    }));

  it("reads the tables that a clone has from its parent", () =>
    inFolder(async (folder) => {
      const [parent, child] = [join(folder, "parent"), join(folder, "child")];
      const model = await prepare(parent);
      await clone(parent, child);
      const { ids } = await compactedIn(child, model, true);
      assert.deepEqual(readdirSync(join(child, "compacted")).length, ids.length + 1);
    }));

  it("fails with the damaged or missing object's name", () =>
    inFolder(async (folder) => {
      await prepare(folder);
      const store = folderStore(folder).store;
      const victim = `compacted/${readdirSync(join(folder, "compacted")).sort()[0]}`;
      await Effect.runPromise(store.delete(victim));
      const db = await open(folder, { ...small, compactor: { ...quiet, thread: true } });
      await assert.rejects(
        db.compact(),
        (error) => error instanceof DataError && error.reason === "missing-object" && error.object === victim,
      );
      await db.close();
    }));

  it(
    "ends with the database, and leaves no thread, and no table in parts that the next opening would not sweep",
    { skip: skipPrograms },
    () =>
      inFolder(async (folder) => {
        assert.match(await closeInChild(folder), /^(closed|done)$/);
        const db = await open(folder, { compactor: false });
        assert.equal((await db.scan().toArray()).length, ROWS);
        // The job may have been quicker than the close: then all of it is published, else nothing.
        const { l0, runs } = await db.tables();
        assert.ok(runs.length === 0 ? l0.length > 0 : l0.length === 0, `${l0.length} L0 tables, ${runs.length} runs`);
        await db.close();
        const odd = readdirSync(join(folder, "compacted")).filter((name) => !name.endsWith(".sst"));
        assert.deepEqual(odd, []);
      }),
  );
});

const BROKEN = program("throw new Error('broken on purpose')");
const LEAVING = program("import process from 'node:process'; process.exit(3)");
const SILENT = program("setInterval(() => {}, 1000)");

/** A compactor on a database with something to do, whose jobs run in threads of `entry`. */
function specOf(folder: string, changes: Partial<ThreadRunnerSpec> = {}): ThreadRunnerSpec {
  const mint = new UlidMint(seededIds(1));
  return {
    folder,
    root: "",
    externalRoot: () => undefined,
    encodingOf: () => ({ blockSizeBytes: 1024, compression: 0, minFilterKeys: 10, filterBitsPerKey: 10 }),
    maxSstBytes: 1 << 20,
    attemptTimeoutMillis: 30_000,
    mint: () => mint.mint(1),
    observe: (id) => mint.observe(id),
    meter: new StoreMeter(),
    onDegraded: () => {},
    ...changes,
  };
}

describe("threadRunner", { skip: skipDisk }, () => {
  for (const [what, entry, why] of [["throws", BROKEN, /broken on purpose/], ["exits", LEAVING, /lost/]] as const) {
    it(`fails with Unavailable when the thread ${what}`, async () => {
      const job = threadRunner(specOf("nowhere", { entry }))(EMPTY_PLAN, { bytesIn: 0, bytesOut: 0 });
      const error = await Effect.runPromise(Effect.flip(job));
      assert.ok(error instanceof Unavailable && error.reason === "compaction-thread", String(error));
      assert.match(error.message, why);
    });
  }

  it("tells that the store of a thread is in trouble, until the thread ends", async () => {
    const error = new StoreError({ op: "put", path: "p", reason: "disk-full", retryable: true, outcome: "none" });
    const report = { op: "put", path: "p", sinceMillis: 5, failingMillis: 31_000, error: storeFaultOf(error) };
    const entry = program(
      "import { parentPort } from 'node:worker_threads';" +
        `parentPort.postMessage(${JSON.stringify({ kind: "degraded", report })});` +
        "setTimeout(() => { throw new Error('the end'); }, 50);",
    );
    const heard: unknown[] = [];
    const spec = specOf("nowhere", { entry, onDegraded: (...told) => heard.push(told) });
    await assert.rejects(Effect.runPromise(threadRunner(spec)(EMPTY_PLAN, { bytesIn: 0, bytesOut: 0 })), Unavailable);
    assert.deepEqual(heard, [[1, true, { ...report, error }], [1, false, undefined]]);
  });

  it("fails when the thread says nothing for a minute", async () => {
    const job = threadRunner(specOf("nowhere", { entry: SILENT }))(EMPTY_PLAN, { bytesIn: 0, bytesOut: 0 });
    const error = await Effect.runPromise(
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Effect.flip(job));
        yield* Effect.yieldNow;
        yield* TestClock.adjust(59_999);
        assert.equal(fiber.pollUnsafe(), undefined);
        yield* TestClock.adjust(1);
        yield* TestClock.adjust(5000);
        return yield* Fiber.join(fiber);
      }).pipe(Effect.provide(TestClock.layer())),
    );
    assert.match(String((error as Error).message), /said nothing for 60 s/);
  });

  it("ends a thread that does not listen when it is interrupted", () =>
    inFolder(async (folder) => {
      const signs = join(folder, "signs of life");
      const entry = program(
        "import { appendFileSync } from 'node:fs';" +
          `setInterval(() => appendFileSync(${JSON.stringify(signs)}, "x"), 5)`,
      );
      const job = threadRunner(specOf(folder, { entry }))(EMPTY_PLAN, { bytesIn: 0, bytesOut: 0 });
      const fiber = Effect.runFork(job);
      while (!existsSync(signs)) await Effect.runPromise(Effect.sleep(10));
      await Effect.runPromise(Fiber.interrupt(fiber));
      const count = readFileSync(signs).length;
      await Effect.runPromise(Effect.sleep(100));
      assert.equal(readFileSync(signs).length, count, "it lives on");
    }));

  it("leaves it to the compactor to begin anew after a thread was lost", () =>
    inFolder(async (folder) => {
      const model = await prepare(folder);
      const store = folderStore(folder).store;
      const versions = new ManifestStore(store, "");
      const stored = (await Effect.runPromise(versions.newest))!;
      let compactor: Compactor | undefined = undefined;
      const manifest = new ManifestHandle(versions, stored, false, () => compactor?.changed());
      const mint = new UlidMint(Effect.runSync(Effect.gen(function* () {
        return yield* Ids;
      })));
      // A clock far ahead of that of the thread.
      const ids: string[] = [];
      const mintId = () => {
        ids.push(mint.mint(Date.now() + 40_000_000_000));
        return ids.at(-1)!;
      };
      const observed = new Set<string>();
      const observe = (id: string) => {
        observed.add(id);
        mint.observe(id);
      };
      const shared = { mint: mintId, observe, maxSstBytes: 9_000 };
      const [lost, sound] = [BROKEN, undefined].map((entry) =>
        threadRunner(specOf(folder, { ...shared, ...(entry === undefined ? {} : { entry }) }))
      );
      let runs = 0;
      const made: string[] = [];
      const troubles = new Set<string | undefined>();
      const work = Effect.gen(function* () {
        compactor = yield* Compactor.start({
          supervisor: new Supervisor(),
          manifest,
          versions: new CompactionsStore(store, ""),
          scheduler: resolveCompactor().scheduler,
          limits: { maxSstBytes: 9_000, maxConcurrent: 1 },
          facts: new KnownTables().facts,
          drops: () => Effect.succeed([]),
          isOnRequest: false,
          run: (plan, counts) => (runs++ === 0 ? lost! : sound!)(plan, counts),
          ...shared,
          mintCheckpointId: () => mintUuid(seededIds(7)),
          now: () => Date.now(),
          expectedEpoch: undefined,
          onChange: () => troubles.add(compactor?.status.trouble),
          onOrphans: () => {},
          onPublished: (_manifest, outputs) => made.push(...outputs.map(({ view }) => view.sstId)),
        });
        compactor.changed();
        while (manifest.current.l0.length > 0) yield* Effect.sleep(50);
      });
      await Effect.runPromise(Effect.scoped(work).pipe(Effect.timeout(30_000)));
      assert.equal(runs, 2);
      assert.ok(made.length > 0 && made.every((id) => id > ids[0]!), `${made} of job ${ids}`);
      assert.ok(made.every((id) => observed.has(id)), "later ids may be earlier");
      assert.ok([...troubles].some((trouble) => trouble?.includes("broken on purpose")), [...troubles].join());
      const db = await open(folder, { ...small, compactor: false });
      assert.deepEqual(await rowsOf(db), model);
      await db.close();
    }));
});

describe("compactor.thread", () => {
  const refuses = async (attempt: Promise<unknown>, what: RegExp) => {
    await assert.rejects(attempt, (error) => {
      assert.ok(error instanceof InvalidArgument && error.reason === "options", String(error));
      assert.match(error.message, /^Cannot (open: option compactor\.|start the compactor: option )thread: /);
      assert.match(error.message, what);
      return true;
    });
  };

  it("is refused where nothing could cross over, before any request", async () => {
    const store = metered(memoryStore(), { component: "test" });
    const folder = "./nowhere-at-all";
    const clock = Effect.runSync(Effect.clockWith(Effect.succeed));
    const cases: Array<readonly [Location, OpenOptions, RegExp]> = [
      ["memory:", {}, /folder/],
      [{ store, path: "a" }, {}, /folder/],
      [folder, { mergeOperator: (_key, _base, operand) => operand }, /merge operator/],
      [folder, { clock }, /clock/],
    ];
    for (const [location, options, what] of cases) {
      await refuses(open(location, { ...options, compactor: { thread: true } }), what);
      await refuses(openCompactor(location, { ...options, thread: true }), what);
    }
    assert.deepEqual(store.report().requests, {});
    if (canUseDisk()) assert.ok(!existsSync(folder));
  });

  it("is not looked at where it was not asked for", async () => {
    const db = await open("memory:", { compactor: { thread: false } });
    await db.close();
  });
});
