/**
 * Both engines write one database in turns, against a model; in some turns the official compactor makes sorted runs.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Mix, Model, randomWrite, verify } from "../support/interop_model.ts";
import { officialMissing, openOfficial, quickCompactor, type Writer } from "../support/interop_official.ts";
import { newestManifest, openOurs, type OursWriter, type Place, withPlace } from "../support/interop_ours.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const MIX: Mix = { keys: 250, merges: 0.2 };

/** Random writes; every one must get the next sequence number. */
async function work(writer: Writer, model: Model, dice: FaultDice, label: string): Promise<void> {
  const perTable = 40;
  for (let i = 0; i < 3 * perTable; i++) {
    await randomWrite(writer, model, dice, label, MIX);
    if (i % perTable === perTable - 1 && dice.next() < 0.8) await writer.flush("memtable");
  }
  await writer.flush("wal");
}

async function ourTurn(place: Place, model: Model, dice: FaultDice, label: string, close: boolean): Promise<void> {
  const writer: OursWriter = await openOurs(place.db, {
    merge: true,
    durable: false,
    open: { l0SstSizeBytes: 4000, blockSizeBytes: 1024, minFilterKeys: 1, compression: "lz4" },
  });
  await verify(writer, model, `${label}, ours opens`, MIX);
  assert.deepEqual(await writer.rowsDescending(), (await writer.rows()).toReversed());
  await work(writer, model, dice, label);
  await verify(writer, model, `${label}, ours wrote`, MIX);
  if (close) await writer.close();
}

async function officialTurn(place: Place, model: Model, dice: FaultDice, label: string, sources = 0): Promise<void> {
  const writer = await openOfficial(place.db, {
    merge: true,
    durable: false,
    blockSizeBytes: 1024,
    settings: {
      min_filter_keys: 1,
      compression_codec: "Zstd",
      compactor_options: sources > 0 ? quickCompactor(sources) : null,
    },
  });
  await verify(writer, model, `${label}, official opens`, MIX);
  await work(writer, model, dice, label);
  if (sources > 0) await settled(place, sources);
  await verify(writer, model, `${label}, official wrote`, MIX);
  await writer.close();
}

/** Waits until the compactor has nothing more to do, at most 5 s. */
async function settled(place: Place, sources: number): Promise<void> {
  for (let waited = 0; waited < 5000; waited += 50) {
    await sleep(50);
    if (newestManifest(place.db).l0.length < sources) return;
  }
  assert.fail("the compactor left L0 tables");
}

describe("interop: turns of both engines on one database", { skip }, () => {
  for (const seed of [1, 2, 3]) {
    it(`without compaction, closed or taken over, seed ${seed}`, () =>
      withPlace(async (place) => {
        const model = new Model();
        const dice = new FaultDice(seed);
        for (let turn = 0; turn < 6; turn++) {
          if (turn % 2 === seed % 2) await ourTurn(place, model, dice, `turn ${turn}`, dice.next() < 0.5);
          else await officialTurn(place, model, dice, `turn ${turn}`);
        }
      }));
  }

  for (const [seed, sources] of [[11, 2], [12, 3], [13, 4]] as const) {
    it(`ours reads and goes on over the runs of the official compactor, ${sources} sources, seed ${seed}`, () =>
      withPlace(async (place) => {
        const model = new Model();
        const dice = new FaultDice(seed);
        let tables = 0;
        for (let turn = 0; turn < 8; turn++) {
          if (turn % 2 === 0) await ourTurn(place, model, dice, `turn ${turn}`, turn !== 2);
          else await officialTurn(place, model, dice, `turn ${turn}`, turn === 3 ? 0 : sources);
          const { compacted } = newestManifest(place.db);
          tables = Math.max(tables, ...compacted.map((run) => run.ssts.length));
        }
        assert.ok(tables > 1, "no run of several tables was met");
        await ourTurn(place, model, dice, "last", true);
      }));
  }
});
