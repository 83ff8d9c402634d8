/**
 * The collector of one engine at work on what the other engine compacted: nothing reachable goes, garbage does.
 *
 * @module
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createCheckpoint, openReader } from "../../mod.ts";
import { collectGarbage } from "../../src/db/collect.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import {
  assertAllReachableStored,
  collectAll,
  dropCheckpoints,
  locationOf,
  officialAtRest,
  oursAtRest,
  until,
  versionsOf,
} from "../support/interop_compaction.ts";
import { type Mix, Model, randomWrite, verify } from "../support/interop_model.ts";
import {
  appendOperand,
  officialMissing,
  openOfficial,
  openOfficialReader,
  quickCollector,
  quickCompactor,
  type Writer,
} from "../support/interop_official.ts";
import { newestManifest, openOurs, plainEntry, withPlace } from "../support/interop_ours.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const MIX: Mix = { keys: 120, merges: 0.2 };
const compactor = { minCompactionSources: 2, maxSstBytes: 1000 } as const;
const FOLDERS = ["compacted", "wal", "manifest", "compactions"] as const;

function openOursHere(db: string, compacts: boolean) {
  return openOurs(db, {
    merge: true,
    durable: false,
    open: { l0SstSizeBytes: 4000, blockSizeBytes: 1024, minFilterKeys: 1, compactor: compacts ? compactor : false },
  });
}

function openOfficialHere(db: string, settings: Readonly<Record<string, unknown>>): Promise<Writer> {
  return openOfficial(db, {
    merge: true,
    durable: false,
    blockSizeBytes: 1024,
    settings: { min_filter_keys: 1, ...settings },
  });
}

async function writeTables(
  writer: Writer,
  model: Model,
  dice: FaultDice,
  label: string,
  tables: number,
): Promise<void> {
  for (let i = 0; i < tables * 20; i++) {
    await randomWrite(writer, model, dice, label, MIX);
    if (i % 20 === 19) await writer.flush("memtable");
  }
  await writer.flush("wal");
}

function objectsIn(db: string): Record<typeof FOLDERS[number], number> {
  const count = (folder: string) => readdirSync(join(db, folder)).length;
  return {
    compacted: count("compacted"),
    wal: count("wal"),
    manifest: count("manifest"),
    compactions: count("compactions"),
  };
}

/** Both engines, each opening it after the other. */
async function bothAgree(db: string, model: Model, what: string): Promise<void> {
  const ours = await openOursHere(db, false);
  await verify(ours, model, `${what}, ours`, MIX);
  const rows = await ours.rows();
  await ours.close();
  const official = await openOfficialHere(db, {});
  assert.deepEqual(await official.rows(), rows, what);
  await verify(official, model, `${what}, official`, MIX);
  await official.close();
}

/** What both engines' readers show of a checkpoint. */
async function assertCheckpoint(db: string, id: string, then: Model, what: string): Promise<void> {
  const ours = await openReader(locationOf(db), { checkpoint: id, ttl: "slatedb", mergeOperator: appendOperand });
  then.assertRows((await ours.scan().toArray()).map(plainEntry), `${what}: our reader`);
  await ours.close();
  const official = await openOfficialReader(db, 1000, true, id);
  then.assertRows(await official.rows(), `${what}: the official reader`);
  await official.close();
}

describe("interop: collectors of both engines", { skip }, () => {
  it("the official collector on what ours compacted: a checkpoint and the newest state stay whole", () =>
    withPlace(async (place) => {
      const model = new Model();
      const dice = new FaultDice(41);
      const ours = await openOursHere(place.db, true);
      await writeTables(ours, model, dice, "early", 7);
      const { id } = await ours.db.checkpoint();
      const then = model.copy();
      await writeTables(ours, model, dice, "late", 9);
      await ours.db.compact();
      await oursAtRest(ours, 2);
      await ours.put("end", "1");
      model.apply({ op: "put", key: "end", value: "1" }, model.nextSeq++);
      await ours.close();
      await dropCheckpoints(place.db, new Set([id]));
      const before = objectsIn(place.db);
      const official = await openOfficialHere(place.db, { garbage_collector_options: quickCollector(0) });
      await until("the official collector deletes", () => {
        const now = objectsIn(place.db);
        return now.compacted < before.compacted && now.wal < before.wal && now.manifest < before.manifest;
      });
      await sleep(200);
      assertAllReachableStored(place.db, "after the official collector");
      await verify(official, model, "while it collects", MIX);
      await assertCheckpoint(place.db, id, then, "the checkpoint");
      await writeTables(official, model, dice, "after", 3);
      await official.close();
      assertAllReachableStored(place.db, "after the official collector and its tables");
      await bothAgree(place.db, model, "after the official collector");
      await assertCheckpoint(place.db, id, then, "the checkpoint, later");
    }));

  it("the official collector while the official compactor goes on from ours", () =>
    withPlace(async (place) => {
      const model = new Model();
      const dice = new FaultDice(42);
      for (let round = 0; round < 3; round++) {
        const ours = await openOursHere(place.db, true);
        await writeTables(ours, model, dice, `ours ${round}`, 6);
        // Closed at work, or at rest.
        if (round !== 1) await oursAtRest(ours, 2);
        await ours.close();
        await dropCheckpoints(place.db);
        const official = await openOfficialHere(place.db, {
          compactor_options: quickCompactor(2, 2),
          garbage_collector_options: quickCollector(300),
        });
        await writeTables(official, model, dice, `official ${round}`, 6);
        await officialAtRest(place.db, 2);
        await sleep(400);
        await verify(official, model, `round ${round}`, MIX);
        await official.close();
        assertAllReachableStored(place.db, `round ${round}`);
      }
      assert.ok(versionsOf(place.db, "manifest")[0]! > 1, "no manifest version was collected");
      await bothAgree(place.db, model, "in the end");
    }));

  it("our collector on what the official engine compacted: it keeps what is reachable, and only that", () =>
    withPlace(async (place) => {
      const model = new Model();
      const dice = new FaultDice(43);
      const official = await openOfficialHere(place.db, { compactor_options: quickCompactor(2, 2) });
      await writeTables(official, model, dice, "early", 7);
      const { id } = await createCheckpoint(locationOf(place.db));
      const then = model.copy();
      await writeTables(official, model, dice, "late", 9);
      await officialAtRest(place.db, 2);
      await official.close();
      // The compactor's own checkpoints protect its sources for 15 minutes.
      const kept = await collectGarbage(locationOf(place.db), { minAgeMillis: 0, allowUnsafeAge: true, dryRun: true });
      assert.ok(kept.kept.compacted["checkpoint"]! > 0, JSON.stringify(kept.kept));
      await dropCheckpoints(place.db, new Set([id]));
      const { deleted } = await collectAll(place.db);
      for (const folder of FOLDERS) assert.ok(deleted[folder].length > 0, `nothing of ${folder} was collected`);
      assertAllReachableStored(place.db, "after our collector");
      await assertCheckpoint(place.db, id, then, "the checkpoint");
      await bothAgree(place.db, model, "after our collector");
      // What a compaction made after the newest L0 table, and another took away, waits for the next such table.
      const last = await openOursHere(place.db, false);
      await last.put("end", "1");
      model.apply({ op: "put", key: "end", value: "1" }, model.nextSeq++);
      await last.flush("memtable");
      await last.close();
      await dropCheckpoints(place.db);
      await collectAll(place.db);
      const { l0, compacted } = newestManifest(place.db);
      const named = [...l0, ...compacted.flatMap((run) => run.ssts)].map((view) => `${view.sstId}.sst`);
      assert.deepEqual(readdirSync(join(place.db, "compacted")).sort(), named.sort(), "exactly what is named is left");
      await bothAgree(place.db, model, "without the checkpoint");
    }));

  it("our collector beside the live official writer and its compactor", () =>
    withPlace(async (place) => {
      const model = new Model();
      const dice = new FaultDice(44);
      const official = await openOfficialHere(place.db, { compactor_options: quickCompactor(2, 2) });
      let writing = true;
      let deleted = 0;
      const collecting = (async () => {
        while (writing) {
          await dropCheckpoints(place.db);
          const report = await collectGarbage(locationOf(place.db), { minAgeMillis: 500, allowUnsafeAge: true });
          assert.equal(report.stopped, undefined);
          deleted += report.deleted.compacted.length;
          await sleep(20);
        }
      })();
      for (let round = 0; round < 10; round++) {
        await writeTables(official, model, dice, `round ${round}`, 3);
        await verify(official, model, `round ${round}`, MIX);
        await sleep(60);
      }
      await officialAtRest(place.db, 2);
      writing = false;
      await collecting;
      assert.ok(deleted > 10, `only ${deleted} tables were collected`);
      await verify(official, model, "in the end", MIX);
      await official.close();
      assertAllReachableStored(place.db, "after our collector");
      await bothAgree(place.db, model, "after our collector");
    }));

  it("both collectors in turns over both compactors", () =>
    withPlace(async (place) => {
      const model = new Model();
      const dice = new FaultDice(45);
      for (let round = 0; round < 6; round++) {
        if (round % 2 === 0) {
          const ours = await openOurs(place.db, {
            merge: true,
            durable: false,
            open: {
              blockSizeBytes: 1024,
              compactor,
              garbageCollector: { intervalMillis: 50, minAgeMillis: 0, allowUnsafeAge: true },
            },
          });
          await writeTables(ours, model, dice, `ours ${round}`, 6);
          await oursAtRest(ours, 2);
          for (const one of await ours.db.checkpoints()) await ours.db.deleteCheckpoint(one.id);
          const { stopped } = await ours.db.collectGarbage();
          assert.equal(stopped, undefined);
          await verify(ours, model, `round ${round}`, MIX);
          await ours.close();
        } else {
          const official = await openOfficialHere(place.db, {
            compactor_options: quickCompactor(2),
            garbage_collector_options: quickCollector(200),
          });
          await writeTables(official, model, dice, `official ${round}`, 6);
          await officialAtRest(place.db, 2);
          await verify(official, model, `round ${round}`, MIX);
          await official.close();
        }
        assertAllReachableStored(place.db, `round ${round}`);
      }
      await bothAgree(place.db, model, "in the end");
    }));
});
