/**
 * A database with range deletes as 0.1.0 left it: a gated manifest, a table and log objects that only we read. Every
 * later version must read it.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../mod.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import { RANGE_DELETES, RANGE_FORMAT } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { canUseDisk } from "../support/permissions.ts";
import { repositoryPath } from "../support/shared.ts";
import { assert, describe, it } from "../support/suite.ts";

const FOLDER = repositoryPath("tests/fixtures/phyllite-0.1.0/range-deletes");
const skip = canUseDisk() ? false : "needs permission to read files";

/** The files, in a store of their own. */
function planted(): MemoryStore {
  const store = memoryStore();
  const root = join(FOLDER, "db");
  for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    const path = name.replaceAll("\\", "/");
    if (/\.[a-z]+$/.test(path)) store.plant(path, new Uint8Array(readFileSync(join(root, path))));
  }
  return store;
}

describe("the database with range deletes of 0.1.0", { skip }, () => {
  it("gives the rows that it gave, from its log, its tables and after a compaction", async () => {
    const expected = JSON.parse(readFileSync(join(FOLDER, "expected.json"), "utf8")) as { rows: unknown[] };
    const store = planted();
    let next = 36;
    for (const act of ["replay", "flush", "compact"] as const) {
      const db = await open({ store, path: "" }, { compactor: false, garbageCollector: false });
      if (act === "flush") await db.flush({ kind: "memtable" });
      if (act === "compact") await db.compact();
      const rows = await db.scan({ lt: "z" }).toArray();
      assert.deepEqual(rows.map(({ key, value, seq }) => [text(key), text(value), seq]), expected.rows, act);
      assert.equal((await db.put("z", act)).seq, next++);
      await db.close();
    }
  });

  it("has what makes it one: the gate, log objects and a table of the other version", () => {
    const store = planted();
    const { manifest } = decodeManifest(store.peek("manifest/00000000000000000005.manifest")!);
    assert.deepEqual(manifest.features, [RANGE_DELETES]);
    assert.deepEqual(manifest.l0.map(({ formatVersion }) => formatVersion), [RANGE_FORMAT, 2]);
    const versions = [2, 3, 7].map((id) => new WalRows(store.peek(`wal/0000000000000000000${id}.sst`)!).version);
    assert.deepEqual(versions, [2, RANGE_FORMAT, RANGE_FORMAT]);
  });
});
