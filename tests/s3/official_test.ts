/**
 * The official binding and ours on one bucket: each reads what the other wrote, both fence each other.
 *
 * Runs on Node with `--interop --s3`.
 *
 * @module
 */
import { open } from "../../mod.ts";
import { Closed } from "../../src/errors.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import type { S3Store } from "../../src/s3.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { hex } from "../support/bytes.ts";
import { type Mix, Model, randomWrite, verify } from "../support/interop_model.ts";
import {
  appendOperand,
  officialBucket,
  officialMissing,
  type OfficialStore,
  officialWalAt,
  openOfficialAt,
  openOfficialReaderAt,
  quickCompactor,
  type Writer,
} from "../support/interop_official.ts";
import { OursWriter } from "../support/interop_ours.ts";
import { waitUntil } from "../support/s3/processes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { onS3, s3Places } from "./places.ts";

const skip = officialMissing();
const MIX: Mix = { keys: 40, merges: 0.2 };
const PATIENCE_MILLIS = 15_000;
const POLL_MILLIS = 50;
/** Settings of the official engine that compacts all the time, and rests when there is one L0 table. */
const COMPACTING = { min_filter_keys: 1, l0_sst_size_bytes: 4000, compactor_options: quickCompactor(2) };

async function openOurs(store: ObjectStoreShape, path: string, more: OpenOptions = {}): Promise<OursWriter> {
  const db = await open({ store, path }, {
    ttl: "slatedb",
    compactor: false,
    garbageCollector: false,
    mergeOperator: appendOperand,
    l0SstSizeBytes: 4000,
    blockSizeBytes: 1024,
    minFilterKeys: 1,
    ...more,
  });
  return new OursWriter(db, true);
}

/** A bucket as both engines see it, and a fresh root in it. */
function onBoth(
  place: ReturnType<typeof s3Places>[number],
  test: (store: S3Store, official: OfficialStore, root: string) => Promise<void>,
): Promise<void> {
  return onS3(place, async (store, root) => test(store, await officialBucket(place), root));
}

/** Random writes, all durable at the end; every one must get the next sequence number. */
async function work(writer: Writer, model: Model, dice: FaultDice, label: string): Promise<void> {
  for (let i = 0; i < 15; i++) {
    await randomWrite(writer, model, dice, label, MIX);
    if (i % 5 === 4) await writer.flush("memtable");
  }
  await randomWrite(writer, model, dice, `${label}, in the log`, MIX);
}

/** A write of a writer that was taken over must fail, and say why. */
async function assertFenced(writer: Writer): Promise<void> {
  let outcome: unknown = "acknowledged";
  await writer.put("late", "1").then(() => {}, (error: unknown) => void (outcome = error));
  if (writer instanceof OursWriter) {
    assert.ok(outcome instanceof Closed && outcome.reason === "fenced", `not fenced but ${String(outcome)}`);
    assert.equal(writer.db.status.closeReason, "fenced");
    return;
  }
  const { tag, reason } = outcome as { tag?: string; reason?: string };
  assert.deepEqual({ tag, reason }, { tag: "Closed", reason: "Fenced" });
}

function definePlace(place: ReturnType<typeof s3Places>[number]): void {
  it("the official engine reads what ours wrote: L0, compacted tables and log, and goes on; ours reads that", () =>
    onBoth(place, async (store, official, root) => {
      const model = new Model();
      const dice = new FaultDice(5);
      const ours = await openOurs(store, root);
      await work(ours, model, dice, "one");
      await ours.db.compact();
      await work(ours, model, dice, "two");
      const { l0, runs } = await ours.db.tables();
      assert.ok(l0.length >= 3 && runs.length === 1 && runs[0]!.tables.length > 0, `${l0.length}, ${runs.length}`);
      const rows = await ours.rows();
      await ours.close();
      const log = await officialWalAt(official, root);
      const last = [...log.values()].flat().at(-1);
      assert.equal(last?.seq, model.nextSeq - 1, "the official reader of the log ends elsewhere");

      const theirs = await openOfficialAt(official, root, { merge: true, settings: COMPACTING });
      assert.deepEqual(await theirs.rows(), rows);
      await verify(theirs, model, "the official engine opens", MIX);
      await work(theirs, model, dice, "three");
      await verify(theirs, model, "the official engine wrote", MIX);
      await theirs.close();

      const again = await openOurs(store, root);
      await verify(again, model, "ours opens", MIX);
      assert.ok((await again.db.tables()).runs.length > 0);
      await work(again, model, dice, "four");
      await verify(again, model, "ours wrote", MIX);
      await again.close();
    }));

  it("both engines take over from each other without closing: the fenced one is refused, every acknowledged row is there", () =>
    onBoth(place, async (store, official, root) => {
      const model = new Model();
      const dice = new FaultDice(6);
      const fenced: Writer[] = [];
      for (let turn = 0; turn < 5; turn++) {
        const label = `turn ${turn}`;
        const isOurs = turn % 2 === 0;
        const writer = isOurs
          ? await openOurs(store, root)
          : await openOfficialAt(official, root, { merge: true, settings: turn === 3 ? COMPACTING : {} });
        await verify(writer, model, `${label} opens`, MIX);
        await work(writer, model, dice, label);
        for (const old of fenced.slice(-1)) await assertFenced(old);
        await verify(writer, model, `${label} wrote`, MIX);
        if (isOurs && turn === 2) await writer.flush("memtable");
        fenced.push(writer);
      }
      const last = await openOurs(store, root);
      await verify(last, model, "at the end", MIX);
      await assertFenced(fenced.at(-1)!);
      await last.close();
      for (const writer of fenced) await writer.close().catch(() => {});
    }));

  it("the official reader follows our writer, and our commits keep its checkpoint", () =>
    onBoth(place, async (store, official, root) => {
      const ours = await openOurs(store, root);
      await ours.put("first", "1");
      const reader = await openOfficialReaderAt(official, root, POLL_MILLIS, true);
      assert.equal((await ours.db.checkpoints()).length, 1, "a reader adds a checkpoint");
      for (let round = 0; round < 3; round++) {
        for (let n = 0; n < 10; n++) await ours.put(`row ${n}`, `round ${round}`);
        const wanted = hex(Buffer.from(`round ${round}`));
        await waitUntil("a row of the log", PATIENCE_MILLIS, async () => await reader.get("row 9") === wanted);
        await ours.flush("memtable");
        if (round === 1) await ours.db.compact();
        assert.ok((await ours.db.checkpoints()).length >= 1, "a commit of ours lost the reader's checkpoint");
      }
      await waitUntil("all rows", PATIENCE_MILLIS, async () => (await reader.rows()).length === 11);
      assert.deepEqual(await reader.rows(), await ours.rows());
      await reader.close();
      await ours.close();
    }));
}

for (const place of s3Places()) {
  describe(`s3: the official binding, ${place.kind}`, { skip }, () => definePlace(place));
}

describe("s3: the official binding, a log of its own", { skip: skip || s3Places().length === 0 }, () => {
  it("both engines write tables on one server and the log on the other", () =>
    onBoth(s3Places()[0]!, (store, official, root) =>
      onBoth(s3Places().at(-1)!, async (logStore, officialLog) => {
        const model = new Model();
        const dice = new FaultDice(7);
        for (let turn = 0; turn < 4; turn++) {
          const path = `${root}-apart`;
          const writer = turn % 2 === 0
            ? await openOurs(store, path, { wal: { store: logStore } })
            : await openOfficialAt(official, path, { merge: true }, officialLog);
          await verify(writer, model, `turn ${turn} opens`, MIX);
          await work(writer, model, dice, `turn ${turn}`);
          await writer.close();
        }
        const last = await openOurs(store, `${root}-apart`, { wal: { store: logStore } });
        await verify(last, model, "at the end", MIX);
        await last.close();
        assert.ok((await officialWalAt(officialLog, `${root}-apart`)).size > 0);
        if (s3Places().length > 1) assert.equal((await officialWalAt(official, `${root}-apart`)).size, 0);
      })));
});
