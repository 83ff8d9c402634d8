/**
 * Both engines write one database in turns, against a model; in some turns the official compactor makes sorted runs.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { hex } from "../support/bytes.ts";
import {
  type BatchOp,
  officialMissing,
  openOfficial,
  type PlainRow,
  quickCompactor,
  type Writer,
} from "../support/interop_official.ts";
import { newestManifest, openOurs, type OursWriter, type Place, withPlace } from "../support/interop_ours.ts";
import { keyOf } from "../support/interop_shapes.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const KEYS = 250;

/** What the database must hold, and the sequence number that the next write must get. */
class Model {
  readonly values: Map<string, string> = new Map();
  readonly touched: Map<string, number> = new Map();
  nextSeq = 1;

  apply(op: BatchOp, seq: number): void {
    const key = String(op.key);
    this.touched.set(key, seq);
    if (op.op === "delete") this.values.delete(key);
    else if (op.op === "put") this.values.set(key, String(op.value));
    else this.values.set(key, (this.values.get(key) ?? "") + String(op.value));
  }

  /** Rows as a full scan gives them, without times. */
  rows(): Array<{ key: string; value: string; seq: number }> {
    return [...this.values].sort(([a], [b]) => a < b ? -1 : 1).map(([key, value]) => ({
      key: hex(Buffer.from(key)),
      value: hex(Buffer.from(value)),
      seq: this.touched.get(key)!,
    }));
  }
}

const untimed = ({ key, value, seq }: PlainRow) => ({ key, value, seq });

function randomOp(dice: FaultDice, label: string): BatchOp {
  const key = keyOf(Math.floor(dice.next() * KEYS));
  const kind = dice.next();
  if (kind < 0.2) return { op: "delete", key };
  if (kind < 0.4) return { op: "merge", key, value: `+${label}` };
  return { op: "put", key, value: `${label} ${"w".repeat(Math.floor(dice.next() * 60))}` };
}

/** Random writes; every one must get the next sequence number. */
async function work(writer: Writer, model: Model, dice: FaultDice, label: string): Promise<void> {
  const perTable = 40;
  for (let i = 0; i < 3 * perTable; i++) {
    const ops = dice.next() < 0.8
      ? [randomOp(dice, label)]
      : Array.from({ length: 2 + Math.floor(dice.next() * 6) }, () => randomOp(dice, label));
    const seq = ops.length === 1 ? await single(writer, ops[0]!) : await writer.batch(ops);
    assert.equal(seq, model.nextSeq++, "sequence numbers have no gaps, whoever writes");
    for (const op of ops) model.apply(op, seq);
    if (i % perTable === perTable - 1 && dice.next() < 0.8) await writer.flush("memtable");
  }
  await writer.flush("wal");
}

function single(writer: Writer, op: BatchOp): Promise<number> {
  if (op.op === "delete") return writer.delete(op.key);
  return op.op === "put" ? writer.put(op.key, op.value) : writer.merge(op.key, op.value);
}

async function verify(writer: Writer, model: Model, what: string): Promise<void> {
  assert.deepEqual((await writer.rows()).map(untimed), model.rows(), `${what}: scan`);
  for (let i = 0; i < KEYS; i++) {
    const key = keyOf(i);
    const row = await writer.get(key);
    const expected = model.values.get(key);
    assert.equal(row?.value, expected === undefined ? undefined : hex(Buffer.from(expected)), `${what}: get ${key}`);
  }
}

async function ourTurn(place: Place, model: Model, dice: FaultDice, label: string, close: boolean): Promise<void> {
  const writer: OursWriter = await openOurs(place.db, {
    merge: true,
    durable: false,
    open: { l0SstSizeBytes: 4000, blockSizeBytes: 1024, minFilterKeys: 1, compression: "lz4" },
  });
  await verify(writer, model, `${label}, ours opens`);
  assert.deepEqual(await writer.rowsDescending(), (await writer.rows()).toReversed());
  await work(writer, model, dice, label);
  await verify(writer, model, `${label}, ours wrote`);
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
  await verify(writer, model, `${label}, official opens`);
  await work(writer, model, dice, label);
  if (sources > 0) await settled(place, sources);
  await verify(writer, model, `${label}, official wrote`);
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
