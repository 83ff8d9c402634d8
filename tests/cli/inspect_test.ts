/**
 * The read-only view of stored objects where a writer is in the middle of something, or something is missing.
 *
 * @module
 */
import { Context, Effect } from "effect";
import { open, type OpenOptions } from "../../mod.ts";
import { utf8 } from "../../src/cli/bytes_text.ts";
import { StoredObjects, StoredView } from "../../src/cli/inspect.ts";
import { mergeOperatorNamed } from "../../src/cli/merge_operators.ts";
import { Runtime } from "../../src/db/runtime.ts";
import { DataError } from "../../src/errors.ts";
import { walPath } from "../../src/format/paths.ts";
import { FLAG_CREATE, FLAG_MERGE, NO_EXPIRY } from "../../src/format/types.ts";
import { WalSstBuilder } from "../../src/format/wal_sst.ts";
import { FULL_RANGE } from "../../src/lsm/key_range.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { memoryStore } from "../../src/testing.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

const runtime = new Runtime(Context.empty());
const mergeOperator = mergeOperatorNamed("concat")!;

const viewOf = (store: ObjectStoreShape, walStore?: ObjectStoreShape) =>
  StoredView.read(new StoredObjects(runtime, { store, root: "", walStore }), { mergeOperator });

const openOn = (store: ObjectStoreShape, options: OpenOptions = {}) =>
  open({ store, path: "" }, { mergeOperator, ...options });

/** A WAL object with one merge operand. */
function walWithOperand(key: string, seq: number, operand: string): Uint8Array {
  const options = { blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 } as const;
  const builder = new WalSstBuilder(options);
  const [k, v] = [utf8(key), utf8(operand)];
  builder.add(k, 0, k.length, seq, FLAG_CREATE | FLAG_MERGE, 1, NO_EXPIRY, v, 0, v.length);
  return builder.finish();
}

describe("StoredView", () => {
  it("StoredView leaves out rows of the log that are in tables already", async () => {
    const store = memoryStore();
    const db = await openOn(store);
    await db.merge("k", "a");
    await db.merge("k", "b");
    await db.flush({ kind: "memtable" });
    await db.close();
    const next = (await viewOf(store)).stored.manifest.replayAfterWalId + 1;
    await runtime.promise(store.put(walPath("", next), walWithOperand("k", 2, "b")));
    await runtime.promise(store.put(walPath("", next + 1), walWithOperand("k", 3, "c")));
    const view = await viewOf(store);
    assert.equal(text((await view.get(utf8("k")))?.value), "abc");
    assert.equal(view.walRows, 1);
  });

  it("StoredView begins anew when a writer and a collector move on under it", async () => {
    const store = memoryStore();
    const db = await openOn(store);
    for (let i = 0; i < 20; i++) await db.put(`k${i}`, String(i));
    let moved = false;
    const moving: ObjectStoreShape = {
      ...store,
      get: (path) =>
        Effect.suspend(() => {
          if (moved || !path.startsWith("wal/")) return store.get(path);
          moved = true;
          return Effect.promise(async () => {
            await db.flush({ kind: "memtable" });
            await db.put("later", "x");
            const log = await runtime.promise(store.list("wal/"));
            for (const object of log.objects.slice(0, -1)) await runtime.promise(store.delete(object.path));
          }).pipe(Effect.andThen(store.get(path)));
        }),
    };
    const view = await viewOf(moving);
    assert.equal(moved, true);
    const keys: string[] = [];
    for await (const batch of view.scan(FULL_RANGE, { keysOnly: true })) {
      keys.push(...batch.map((row) => text(row.key)!));
    }
    assert.equal(keys.length, 21);
    assert.equal(text((await view.get(utf8("later")))?.value), "x");
    await db.close();
  });

  it("StoredView names a hole in the log", async () => {
    const store = memoryStore();
    const db = await openOn(store);
    await db.put("a", "1");
    await db.put("b", "2");
    await db.put("c", "3");
    await db.close();
    const view = await viewOf(store);
    const lost = view.walObjects[1]!.id;
    await runtime.promise(store.delete(walPath("", lost)));
    await assert.rejects(viewOf(store), (error: unknown) => {
      assert.ok(error instanceof DataError);
      assert.deepEqual([error.reason, error.object], ["wal-gap", walPath("", lost)]);
      return true;
    });
  });

  it("StoredView wants the log where it is", async () => {
    const [store, walStore, plain] = [memoryStore(), memoryStore(), memoryStore()];
    const db = await openOn(store, { wal: { store: walStore } });
    await db.put("k", "v");
    await db.close();
    await (await openOn(plain)).close();
    assert.equal(text((await (await viewOf(store, walStore)).get(utf8("k")))?.value), "v");
    await assert.rejects(viewOf(store), /--wal-location/);
    await assert.rejects(viewOf(plain, walStore), /leave --wal-location out/);
  });

  it("StoredView makes no request that writes", async () => {
    const store = memoryStore();
    const db = await openOn(store, { l0SstSizeBytes: 2048 });
    for (let i = 0; i < 50; i++) await db.put(`k${i}`, "x".repeat(100));
    await db.close();
    const view = await viewOf(store);
    for await (const batch of view.scan(FULL_RANGE)) assert.ok(batch.length > 0);
    await view.get(utf8("k7"));
    const kinds = Object.values(view.objects.cost().requests).flatMap((counts) => Object.keys(counts));
    assert.deepEqual(kinds.filter((kind) => !["get", "getRange", "getRanges", "head", "list"].includes(kind)), []);
  });
});
