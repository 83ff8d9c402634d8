/**
 * The official engine in front of the gate: it refuses a gated database as a whole and changes nothing there, and after
 * the way back it opens it and agrees with ours, wherever ours may have crashed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { copyFileSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createCheckpoint, openReader } from "../../mod.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { isGated, namesRanges, withGate } from "../../src/state/range_gate.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type Step } from "../support/crash_script.ts";
import {
  assertAllReachableStored,
  dropCheckpoints,
  locationOf,
  officialAtRest,
  until,
  versionsOf,
} from "../support/interop_compaction.ts";
import { stateOf, writeOut } from "../support/interop_crashed.ts";
import {
  officialMissing,
  officialWal,
  openOfficial,
  openOfficialReader,
  quickCollector,
  quickCompactor,
} from "../support/interop_official.ts";
import {
  assertSameAnswers,
  manifests,
  newestManifest,
  openOurs,
  type OursWriter,
  type Place,
  plainEntry,
  withPlace,
} from "../support/interop_ours.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
/** What a failed test would leave open. */
const closers: Array<() => Promise<void>> = [];

async function startOfficial(...args: Parameters<typeof openOfficial>) {
  const writer = await openOfficial(...args);
  closers.push(() => writer.close());
  return writer;
}

async function attachOfficial(...args: Parameters<typeof openOfficialReader>) {
  const reader = await openOfficialReader(...args);
  closers.push(() => reader.close());
  return reader;
}

function inPlace(test: (place: Place) => Promise<void>): Promise<void> {
  return withPlace(async (place) => {
    try {
      await test(place);
    } finally {
      for (const close of closers.splice(0)) await close().catch(() => {});
    }
  });
}
const POLL_MILLIS = 20;
/** Longer than the official engine's polls, flushes, compactions and collections are apart in these tests. */
const LOOK_MILLIS = 400;

/** Every file below a folder, by what is in it. */
function everything(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const name of readdirSync(folder, { recursive: true }) as string[]) {
    const path = join(folder, name);
    if (statSync(path).isFile()) files.set(name, createHash("sha256").update(readFileSync(path)).digest("hex"));
  }
  return new Map([...files].sort(([a], [b]) => a < b ? -1 : 1));
}

/** Fails unless `attempt` is refused for the version of the manifest, and the folder stays as it was. */
async function assertRefused(folder: string, what: string, attempt: () => Promise<unknown>): Promise<void> {
  const before = everything(folder);
  let answer: unknown = "it was not refused";
  await attempt().catch((error: unknown) => void (answer = error));
  assertVersionError(answer, what);
  await sleep(POLL_MILLIS);
  assert.deepEqual(everything(folder), before, `${what}: something was written`);
}

function assertVersionError(error: unknown, what: string): void {
  const { tag, message } = error as { tag?: string; message?: string };
  assert.equal(tag, "Data", `${what}: ${String(error)}`);
  assert.match(`${message}`, /unsupported manifest format version/, what);
}

async function fill(ours: OursWriter): Promise<void> {
  for (let i = 0; i < 30; i++) await ours.put(`key ${String(i).padStart(2, "0")}`, `value ${i}`);
}

/** Where the only range tombstone lies when the database is closed. */
const PLACES: Record<string, (ours: OursWriter, folder: string) => Promise<void>> = {
  "in the log only": async (ours) => {
    await ours.db.deleteRange({ gte: "key 10", lt: "key 20" });
  },
  "in an L0 table": async (ours) => {
    await ours.flush("memtable");
    await ours.db.deleteRange({ gte: "key 10", lt: "key 20" });
    await ours.flush("memtable");
  },
  "in a sorted run": async (ours, folder) => {
    const snapshot = await ours.db.snapshot();
    await ours.db.deleteRange({ gte: "key 10", lt: "key 20" });
    await ours.db.compact();
    assert.equal(newestManifest(folder).l0.length, 0);
    snapshot.release();
  },
};

/** Opens ours with fast settings; it neither compacts nor collects by itself. */
async function oursAt(folder: string, open: OpenOptions = {}) {
  return await openOurs(folder, { open: { flushIntervalMillis: null, ...open } });
}

const busy = {
  garbage_collector_options: quickCollector(0),
  compactor_options: quickCompactor(2),
  manifest_poll_interval: "20ms",
};

describe("interop: the official engine refuses a gated database", { skip }, () => {
  for (const [name, remove] of Object.entries(PLACES)) {
    it(`the range tombstone ${name}: writer, reader and reader at an old checkpoint change nothing`, () =>
      inPlace(async ({ db }) => {
        const ours = await oursAt(db);
        await fill(ours);
        const old = await ours.db.checkpoint();
        await remove(ours, db);
        const gated = await ours.db.checkpoint({ scope: "durable" });
        await ours.close();
        assert.ok(isGated(newestManifest(db)), "it is gated");
        assert.ok(namesRanges(newestManifest(db)) !== name.includes("log"));
        await assertRefused(db, "a writer", () => startOfficial(db));
        await assertRefused(db, "a writer with compactor and collector", () => startOfficial(db, { settings: busy }));
        await assertRefused(db, "a reader", () => attachOfficial(db, POLL_MILLIS));
        await assertRefused(db, "a reader at an old state", () => attachOfficial(db, POLL_MILLIS, false, old.id));
        await assertRefused(
          db,
          "a reader at a gated state",
          () => attachOfficial(db, POLL_MILLIS, false, gated.id),
        );
        const before = everything(db);
        if (name.includes("log")) await assert.rejects(officialWal(db), "the log has a lock of its own");
        assert.deepEqual(everything(db), before);
        const again = await oursAt(db);
        assert.equal((await again.rows()).length, 20);
        await again.close();
      }));
  }

  it("a running writer with compactor and collector stops at the gate, and changes nothing any more", () =>
    inPlace(async ({ db }) => {
      const official = await startOfficial(db, { settings: busy });
      for (let i = 0; i < 30; i++) await official.put(`key ${i}`, `value ${i}`);
      await official.flush("memtable");
      const ours = await oursAt(db);
      await ours.db.deleteRange({ gte: "key 1", lt: "key 2" });
      assert.ok(isGated(newestManifest(db)));
      const before = everything(db);
      for (const late of [() => official.put("late", "1"), () => official.flush("memtable")]) {
        let answer: unknown = "acknowledged";
        await late().catch((error: unknown) => void (answer = error));
        assert.notEqual(answer, "acknowledged");
      }
      await sleep(LOOK_MILLIS);
      assert.deepEqual(everything(db), before, "the official engine wrote or deleted something");
      await official.close().catch(() => {});
      assert.deepEqual(everything(db), before, "its closing wrote or deleted something");
      assert.equal((await ours.rows()).length, 19);
      await ours.close();
    }));

  it("a running compactor and collector with work to do stop when a gated version follows the one they know", () =>
    inPlace(async ({ db }) => {
      const official = await startOfficial(db, {
        durable: false,
        settings: { ...busy, compactor_options: { ...quickCompactor(2), poll_interval: "200ms" } },
      });
      await official.put("a", "1");
      await official.flush("memtable");
      // Two tables to compact, garbage to collect, and the gate before the compactor looks.
      await official.put("b", "1");
      await official.flush("memtable");
      plantGate(db);
      await sleep(POLL_MILLIS * 3);
      const before = everything(db);
      let answer: unknown = "acknowledged";
      await official.put("late", "1").then(() => official.flush("wal")).catch((error: unknown) =>
        void (answer = error)
      );
      assertVersionError(answer, "a write");
      await sleep(2 * LOOK_MILLIS);
      const after = everything(db);
      for (const [path, digest] of before) assert.equal(after.get(path), digest, `${path} was deleted or changed`);
      const added = [...after.keys()].filter((path) => !before.has(path));
      assert.deepEqual(added.filter((path) => path.startsWith("manifest")), [], "no manifest on top of the gate");
      assert.deepEqual(added, []);
      await official.close().catch(() => {});
    }));

  it("a running reader fails at its next look, and a reader of ours goes on", () =>
    inPlace(async ({ db }) => {
      const ours = await oursAt(db);
      await fill(ours);
      await ours.flush("memtable");
      const official = await attachOfficial(db, POLL_MILLIS);
      const reader = await openReader(locationOf(db), { manifestPollIntervalMillis: POLL_MILLIS });
      assert.equal((await official.rows()).length, 30);
      await ours.db.deleteRange({ gte: "key 10", lt: "key 20" });
      let answer: unknown;
      await until("the official reader refuses", async () => {
        await official.rows().catch((error: unknown) => void (answer = error));
        return answer !== undefined;
      });
      assertVersionError(answer, "a scan");
      await until("our reader sees it", async () => (await reader.scan().toArray()).length === 20);
      await reader.close();
      const before = everything(db);
      await assert.rejects(official.get("key 01"));
      await sleep(LOOK_MILLIS);
      assert.deepEqual(everything(db), before, "the official reader wrote something");
      await official.close().catch(() => {});
      await ours.close();
    }));
});

/** Puts a copy of the newest manifest with the gate on top of it, as a commit of ours would. */
function plantGate(folder: string): void {
  for (;;) {
    const id = versionsOf(folder, "manifest").at(-1)! + 1;
    const path = join(folder, "manifest", `${String(id).padStart(20, "0")}.manifest`);
    try {
      writeFileSync(path, encodeManifest(withGate(newestManifest(folder), true)), { flag: "wx" });
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== "EEXIST") throw error;
    }
  }
}

describe("interop: the official engine after the way back", { skip }, () => {
  it("opens the database, agrees with ours, compacts it and collects its garbage", () =>
    inPlace(async ({ db }) => {
      const ours = await oursAt(db);
      await fill(ours);
      await ours.flush("memtable");
      await ours.db.deleteRange({ gte: "key 10", lt: "key 20" });
      await ours.put("key 15", "again");
      await ours.flush("memtable");
      await ours.db.compact();
      await ours.close();
      assert.ok(!isGated(newestManifest(db)) && manifests(db).some(isGated), "there and back");
      const last = versionsOf(db, "manifest")[manifests(db).findLastIndex(isGated)]!;
      await dropCheckpoints(db);
      const official = await startOfficial(db, { settings: busy });
      const again = await official.rows();
      assert.equal(again.length, 21);
      for (let i = 0; i < 4; i++) {
        await official.put(`new ${i}`, "1");
        await official.flush("memtable");
      }
      await officialAtRest(db, 2);
      await dropCheckpoints(db);
      await until("the collector deletes the gated versions", () => versionsOf(db, "manifest")[0]! > last);
      const rows = await official.rows();
      assert.deepEqual(rows.slice(0, 21), again);
      await official.close();
      assertAllReachableStored(db, "after the official compactor and collector");
      const ours2 = await oursAt(db);
      assert.deepEqual(await ours2.rows(), rows);
      await ours2.close();
    }));

  it("its scan and gets equal ours, row for row, over histories of range deletes", () =>
    inPlace(async ({ db }) => {
      for (let round = 0; round < 3; round++) {
        const ours = await oursAt(db, { l0SstSizeBytes: 2000, blockSizeBytes: 1024, minFilterKeys: 1 });
        for (let i = 0; i < 60; i++) {
          const key = (i * 37 + round * 11) % 100;
          if (i % 9 === 4) await ours.db.deleteRange({ gte: `k${key}`, lt: `k${key}5` }, { durable: false });
          else await ours.put(`k${key}`, `${round} ${i}`);
          if (i % 20 === 19) await ours.flush("memtable");
        }
        await ours.db.compact();
        const official = await startOfficial(db);
        await assertSameAnswers(official, await oursReading(db), ["k5", "k55"]);
        await official.close();
        await ours.close().catch(() => {});
      }
    }));

  it("its collector harms nothing while checkpoints of the gated time remain, and works when they have ended", () =>
    inPlace(async ({ db }) => {
      const ours = await oursAt(db);
      await fill(ours);
      await ours.flush("memtable");
      await ours.db.deleteRange({ gte: "key 10", lt: "key 20" });
      await ours.flush("memtable");
      const kept = await ours.db.checkpoint();
      await ours.put("key 15", "again");
      await ours.db.compact();
      await ours.close();
      const orphan = "01ARZ3NDEKTSV4RRFFQ69G5FAV.sst";
      copyFileSync(join(db, "compacted", readdirSync(join(db, "compacted"))[0]!), join(db, "compacted", orphan));
      const official = await startOfficial(db, { settings: busy });
      const before = stored(db);
      const rows = await official.rows();
      await official.put("new", "1");
      await official.flush("memtable");
      await until("the collector goes on with manifests", () => !before.isSubsetOf(stored(db)));
      await sleep(LOOK_MILLIS);
      assertAllReachableStored(db, "under gated checkpoints");
      assert.ok(readdirSync(join(db, "compacted")).includes(orphan), "it deletes no table while it meets one");
      const reader = await openReader(locationOf(db), { checkpoint: kept.id });
      assert.equal((await reader.scan().toArray()).length, 20, "the checkpoint of the gated time is whole");
      await reader.close();
      await dropCheckpoints(db);
      await until("the collector works again", () => !readdirSync(join(db, "compacted")).includes(orphan));
      assert.deepEqual((await official.rows()).slice(0, rows.length), rows);
      await official.close();
      assertAllReachableStored(db, "after the gated checkpoints");
    }));

  it("a checkpoint of the gated time is refused by its readers after the way back, one made since is not", () =>
    inPlace(async ({ db }) => {
      const ours = await oursAt(db);
      await fill(ours);
      await ours.flush("memtable");
      await ours.db.deleteRange({ gte: "key 10", lt: "key 20" });
      const gated = await ours.db.checkpoint();
      await ours.db.compact();
      await ours.close();
      const since = await createCheckpoint(locationOf(db));
      assert.ok(!isGated(newestManifest(db)));
      await assert.rejects(attachOfficial(db, POLL_MILLIS, false, gated.id), (error) => {
        assertVersionError(error, "a reader");
        return true;
      });
      const official = await attachOfficial(db, POLL_MILLIS, false, since.id);
      const reader = await openReader(locationOf(db), { checkpoint: since.id });
      assert.deepEqual(await official.rows(), (await reader.scan().toArray()).map(plainEntry));
      await reader.close();
      await official.close();
    }));
});

function stored(folder: string): Set<number> {
  return new Set(versionsOf(folder, "manifest"));
}

/** Our answers without fencing the official writer. */
async function oursReading(folder: string) {
  const reader = await openReader(locationOf(folder), { ttl: "slatedb" });
  closers.push(() => reader.close());
  return {
    rows: async () => (await reader.scan().toArray()).map(plainEntry),
    get: async (key: Uint8Array) => {
      const entry = await reader.getEntry(key);
      return entry === undefined ? undefined : plainEntry(entry);
    },
  } as unknown as OursWriter;
}

const byHand: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  compactor: false,
  garbageCollector: false,
};
const write = (...changes: Extract<Step, { write: unknown }>["write"]): Step => ({ write: changes, durable: true });
const WAY_BACK: Record<string, CrashSetting> = {
  "of compact() and a close": {
    options: byHand,
    steps: [
      write(["a", "1"], ["b", "1"]),
      { flush: "memtable" },
      write({ gte: "a", lt: "b" }, ["c", "1"]),
      { compact: true },
      write(["d", "1"]),
      { reopen: true },
      write({ gte: "c", lt: "d" }),
    ],
  },
  "without a log": {
    options: { ...byHand, wal: false },
    steps: [write(["a", "1"], ["b", "1"]), write({ gte: "a", lt: "b" }), { compact: true }, write(["d", "1"])],
  },
};

describe("interop: the official engine wherever ours crashed around the gate", { skip }, () => {
  for (const [name, setting] of Object.entries(WAY_BACK)) {
    it(`${name}: it opens what is not gated with every row as ours shows it, and refuses the rest`, async () => {
      const sound = await runUntilCrash(memoryStore(), setting, undefined);
      const met = { opened: 0, refused: 0, reopened: 0 };
      let wasGated = false;
      for (let index = 2; index < sound.requests; index++) {
        if (["get", "getRange", "getRanges", "head", "list"].includes(sound.log[index]!.op)) continue;
        const store = memoryStore();
        const crashed = await runUntilCrash(store, setting, { index, when: "after" });
        const what = `after request ${index}`;
        await inPlace(async ({ root, db }) => {
          writeOut(store, root);
          if (isGated(newestManifest(db))) {
            await assertRefused(db, what, () => startOfficial(db));
            met.refused++;
            wasGated = true;
            return;
          }
          const state = await contents(store, { ...setting.options, clock: virtualClock(2_000_000) });
          judge(crashed, state, what);
          const official = await startOfficial(db, setting.options.wal === false ? NO_LOG : {});
          assert.deepEqual([...await stateOf(official)], [...state], what);
          await official.close();
          met.opened++;
          if (wasGated) met.reopened++;
        });
      }
      assert.ok(met.opened > 3 && met.refused > 3 && met.reopened > 1, JSON.stringify(met));
    });
  }
});

const NO_LOG = { settings: { wal_enabled: false }, durable: false } as const;
