/**
 * A database with its log in a store of its own, opened with another store for it: what was acknowledged used to be lost
 * without a word, and its numbers were given out again.
 *
 * @module
 */
import { open } from "../../mod.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("a log store that is not the one written to", () => {
  const quiet = { compactor: false, garbageCollector: false } as const;

  it("is refused when it is empty and the manifest tells of a log, and the right one still has every row", async () => {
    const store = memoryStore();
    const [right, wrong] = [memoryStore(), memoryStore()];
    const first = await open({ store, path: "" }, { ...quiet, wal: { store: right } });
    await first.put("a", "acknowledged");
    await first.close();
    await assert.rejects(
      open({ store, path: "" }, { ...quiet, wal: { store: wrong } }),
      (error) => error instanceof InvalidArgument && error.reason === "wal-store" && /holds no log/.test(error.message),
    );
    assert.deepEqual(wrong.objects(), []);
    const again = await open({ store, path: "" }, { ...quiet, wal: { store: right } });
    assert.equal(text(await again.get("a")), "acknowledged");
    assert.equal((await again.put("b", "2")).seq, 2);
    await again.close();
  });

  it("is not suspected where everything is in tables", async () => {
    const store = memoryStore();
    const first = await open({ store, path: "" }, { ...quiet, wal: { store: memoryStore() } });
    await first.put("a", "1");
    await first.flush({ kind: "memtable" });
    await first.close();
    const again = await open({ store, path: "" }, { ...quiet, wal: { store: memoryStore() } });
    assert.equal(text(await again.get("a")), "1");
    await again.close();
  });
});
