/**
 * The official reader attached to a database while ours writes it: both write manifests, neither loses the other's.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { hex } from "../support/bytes.ts";
import { officialMissing, type OfficialReader, openOfficial, openOfficialReader } from "../support/interop_official.ts";
import { manifests, newestManifest, openOurs, withPlace } from "../support/interop_ours.ts";
import { keyOf } from "../support/interop_shapes.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const POLL_MILLIS = 20;

/** Waits until the reader sees `value`; it is polled for at most 5 s. */
async function sees(reader: OfficialReader, key: string, value: string): Promise<void> {
  const wanted = hex(Buffer.from(value));
  for (let waited = 0; waited < 5000; waited += POLL_MILLIS) {
    if (await reader.get(key) === wanted) return;
    await sleep(POLL_MILLIS);
  }
  assert.fail(`the reader never saw ${key} = ${value}`);
}

describe("interop: the official reader while ours writes", { skip }, () => {
  it("sees rows of the log and of new tables, and its checkpoints survive our commits", () =>
    withPlace(async (place) => {
      const writer = await openOurs(place.db, { merge: true });
      await writer.put("start", "0");
      const reader = await openOfficialReader(place.db, POLL_MILLIS, true);
      assert.equal(newestManifest(place.db).checkpoints.length, 1, "a reader adds a checkpoint");
      await sees(reader, "start", "0");
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 10; i++) await writer.put(keyOf(i), `round ${round}`);
        await writer.merge("log", `${round}`);
        await sees(reader, keyOf(9), `round ${round}`);
        const before = newestManifest(place.db).checkpoints;
        await writer.flush("memtable");
        const after = newestManifest(place.db).checkpoints;
        assert.ok(before.length >= 1 && after.length >= 1, "a commit of ours lost the reader's checkpoint");
        await writer.put("after", `${round}`);
        await sees(reader, "after", `${round}`);
        await sees(reader, "log", Array.from({ length: round + 1 }, (_, i) => i).join(""));
      }
      const rows = await writer.rows();
      assert.deepEqual(await reader.rows(), rows);
      const versions = manifests(place.db);
      const byReader = versions.filter((manifest, i) =>
        i > 0 && manifest.lastL0Seq === versions[i - 1]!.lastL0Seq &&
        JSON.stringify(manifest.checkpoints) !== JSON.stringify(versions[i - 1]!.checkpoints)
      );
      assert.ok(byReader.length >= 3, `the reader wrote ${byReader.length} manifests between ours`);
      assert.equal(newestManifest(place.db).l0.length, 5, "a manifest of the reader's lost a table of ours");
      await writer.close();
      assert.ok(newestManifest(place.db).checkpoints.length >= 1, "close lost the reader's checkpoint");
      assert.deepEqual(await reader.rows(), rows);
      await reader.close();
      const official = await openOfficial(place.db, { merge: true });
      assert.deepEqual(await official.rows(), rows);
      await official.close();
    }));

  it("two readers come and go while ours flushes all the time, and every commit of everybody holds", () =>
    withPlace(async (place) => {
      const writer = await openOurs(place.db, { durable: false });
      await writer.put("start", "0");
      await writer.flush("memtable");
      let writing = true;
      let flushes = 1;
      const flushing = (async () => {
        for (; writing && flushes < 60; flushes++) {
          await writer.put(keyOf(flushes % 7), `flush ${flushes}`);
          await writer.flush("memtable");
        }
      })();
      for (let i = 0; i < 3; i++) {
        const readers = await Promise.all([openOfficialReader(place.db, 10), openOfficialReader(place.db, 15)]);
        await sleep(40);
        await Promise.all(readers.map((reader) => reader.close()));
      }
      writing = false;
      await flushing;
      const rows = await writer.rows();
      assert.equal(newestManifest(place.db).l0.length, flushes);
      const ids = newestManifest(place.db).checkpoints.map((checkpoint) => checkpoint.id);
      assert.equal(new Set(ids).size, ids.length);
      await writer.close();
      const official = await openOfficial(place.db);
      assert.deepEqual(await official.rows(), rows);
      await official.close();
    }));
});
