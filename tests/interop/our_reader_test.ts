/**
 * Our readers attached to a database while the official engine writes, flushes and compacts it.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { basename, dirname } from "node:path";
import { openReader } from "../../mod.ts";
import type { DbReader } from "../../src/db/admin_api.ts";
import type { Reads } from "../../src/db/api.ts";
import type { ReaderOptions } from "../../src/db/reader_options.ts";
import { fileStore } from "../../src/store/file_store.ts";
import { hex } from "../support/bytes.ts";
import {
  appendOperand,
  officialMissing,
  openOfficial,
  openOfficialReader,
  type PlainRow,
  quickCompactor,
} from "../support/interop_official.ts";
import { newestManifest, openOurs, withPlace } from "../support/interop_ours.ts";
import { keyOf } from "../support/interop_shapes.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();

function ourReader(folder: string, options: ReaderOptions = {}): Promise<DbReader> {
  return openReader({ store: fileStore(dirname(folder)), path: basename(folder) }, {
    ttl: "slatedb",
    mergeOperator: appendOperand,
    manifestPollIntervalMillis: 20,
    ...options,
  });
}

async function rowsOf(reads: Reads): Promise<PlainRow[]> {
  const rows = await reads.scan().toArray();
  return rows.map(({ key, value, seq, createdAt, expiresAt }) => ({
    key: hex(key),
    value: hex(value),
    seq,
    createTs: createdAt,
    expireTs: expiresAt ?? null,
  }));
}

describe("interop: our readers while the official engine writes", { skip }, () => {
  for (const mode of ["managed", "follow"] as const) {
    it(`see the log, new tables and new runs, and numbers only rise, ${mode}`, () =>
      withPlace(async (place) => {
        const writer = await openOfficial(place.db, {
          merge: true,
          settings: { compactor_options: quickCompactor(2) },
        });
        await writer.put("start", "0");
        const reader = await ourReader(place.db, { mode });
        assert.equal(newestManifest(place.db).checkpoints.length, mode === "managed" ? 1 : 0);
        let seen = 0;
        let snapshot = await reader.snapshot();
        let before = await rowsOf(snapshot);
        for (let round = 0; round < 12; round++) {
          let seq = 0;
          for (let i = 0; i < 10; i++) seq = await writer.put(keyOf(i), `round ${round}`);
          seq = await writer.merge("log", `${round % 10}`);
          if (round % 2 === 1) await writer.flush("memtable");
          await reader.waitForSeq(seq, { timeoutMillis: 5000 });
          assert.ok(reader.status.seq >= seen);
          seen = reader.status.seq;
          assert.deepEqual(await rowsOf(reader), await writer.rows());
          assert.deepEqual(await rowsOf(snapshot), before, "a snapshot stays as it is");
          snapshot.release();
          snapshot = await reader.snapshot();
          before = await rowsOf(snapshot);
          await sleep(15);
        }
        assert.equal(reader.status.trouble, undefined);
        assert.ok(newestManifest(place.db).compacted.length > 0, "the official compactor was at work");
        await writer.close();
        await reader.refresh();
        assert.equal(reader.status.closeReason, undefined);
        const rows = await rowsOf(reader);
        // Those of the official compactor live 900 s, ours 600 s from their renewal on.
        const own = () =>
          newestManifest(place.db).checkpoints.filter((one) => one.expireTimeSeconds - one.createTimeSeconds < 900);
        assert.equal(own().some(({ id }) => id === reader.status.checkpointId), mode === "managed");
        await reader.close();
        assert.deepEqual(own(), []);
        const ours = await openOurs(place.db, { merge: true });
        assert.deepEqual(await ours.rows(), rows);
        await ours.close();
      }));
  }

  it("both engines' readers agree on a database that changes hands", () =>
    withPlace(async (place) => {
      const first = await openOfficial(place.db, { merge: true });
      await first.put("a", "1");
      const ours = await ourReader(place.db);
      const official = await openOfficialReader(place.db, 20, true);
      const second = await openOurs(place.db, { merge: true });
      await second.put("a", "2");
      await second.flush("memtable");
      const third = await openOfficial(place.db, { merge: true });
      const seq = await third.put("b", "3");
      await ours.waitForSeq(seq, { timeoutMillis: 5000 });
      for (let waited = 0; waited < 5000 && (await official.rows()).length < 2; waited += 20) await sleep(20);
      assert.deepEqual(await rowsOf(ours), await official.rows());
      assert.deepEqual(await rowsOf(ours), await third.rows());
      await ours.close();
      await official.close();
      await third.close();
      await first.close().catch(() => {});
      await second.close().catch(() => {});
    }));

  it("our pinned reader shows the checkpoint that an official reader made", () =>
    withPlace(async (place) => {
      const writer = await openOfficial(place.db, { merge: true });
      await writer.put("a", "1");
      await writer.flush("memtable");
      const official = await openOfficialReader(place.db, 600_000 / 2, true);
      const { id } = newestManifest(place.db).checkpoints[0]!;
      const before = await official.rows();
      await writer.put("a", "2");
      await writer.flush("memtable");
      const pinned = await ourReader(place.db, { checkpoint: id });
      assert.deepEqual(await rowsOf(pinned), before);
      await pinned.close();
      await official.close();
      await writer.close();
    }));
});
