/**
 * Stores side by side: every request goes to the one that its name tells, and nothing tells that there are several.
 *
 * @module
 */
import { Effect } from "effect";
import { StoreError } from "../../src/errors.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { siblingFolders, withSiblings } from "../../src/store/sibling_folders.ts";
import { assert, describe, it } from "../support/suite.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const run = Effect.runPromise;

/** The stores that were opened, by name. */
function family(): { readonly store: ObjectStoreShape; readonly stores: Map<string, MemoryStore> } {
  const stores = new Map<string, MemoryStore>();
  const store = siblingFolders((name) => {
    assert.ok(!stores.has(name), "opened twice");
    const made = memoryStore();
    stores.set(name, made);
    return made;
  });
  return { store, stores };
}

describe("siblingFolders", () => {
  it("the first part of a name says which store, the rest is the name there", async () => {
    const { store, stores } = family();
    await run(store.put("a/wal/1", bytes("one")));
    assert.equal(await run(store.putIfAbsent("b/wal/1", bytes("two"))), "created");
    assert.equal(await run(store.putIfAbsent("b/wal/1", bytes("three"))), "exists");
    assert.deepEqual(stores.get("a")!.objects(), ["wal/1"]);
    assert.deepEqual(await run(store.get("b/wal/1")), bytes("two"));
    assert.deepEqual(await run(store.getRange("b/wal/1", { offset: 1, length: 2 })), bytes("wo"));
    assert.deepEqual(await run(store.getRanges("b/wal/1", [{ offset: 0, length: 1 }])), [bytes("t")]);
    assert.equal((await run(store.head("b/wal/1"))).path, "b/wal/1");
    await run(store.copy("a/wal/1", "b/wal/2"));
    const page = await run(store.list("b/wal/"));
    assert.deepEqual(page.objects.map((object) => object.path), ["b/wal/1", "b/wal/2"]);
    const rest = await run(store.list("b/wal/", "b/wal/1"));
    assert.deepEqual(rest.objects.map((object) => object.path), ["b/wal/2"]);
    await run(store.delete("b/wal/1"));
    const upload = await run(store.upload("b/wal/3"));
    await run(upload.write(bytes("x")));
    await run(upload.complete);
    assert.deepEqual(stores.get("b")!.objects(), ["wal/2", "wal/3"]);
    assert.deepEqual([...stores.keys()], ["a", "b"]);
  });

  it("errors name the whole path; names that could mean another place never reach a store", async () => {
    const { store, stores } = family();
    const missing = await run(Effect.flip(store.get("a/wal/1")));
    assert.deepEqual([missing.path, missing.reason], ["a/wal/1", "not-found"]);
    for (const name of ["../a/x", "a/../b", "/a/x", "a\\b/x", "C:/x", "./a/x"]) {
      const error = await run(Effect.flip(store.get(name)));
      assert.ok(error instanceof StoreError && error.reason === "invalid-path", name);
    }
    for (const request of [store.list(""), store.get("a"), store.put("a", bytes(""))]) {
      assert.equal((await run(Effect.flip(request as Effect.Effect<unknown, StoreError>))).reason, "unsupported");
    }
    assert.deepEqual([...stores.keys()], ["a"]);
  });
});

describe("withSiblings", () => {
  it("own names have two parts, longer ones are those of databases beside", async () => {
    const own = memoryStore();
    const { store: around, stores } = family();
    const store = withSiblings(own, around);
    await run(store.put("wal/1", bytes("own")));
    await run(store.put("parent/wal/1", bytes("parent's")));
    await run(store.put("wal/wal/1", bytes("of a database called wal")));
    assert.deepEqual(own.objects(), ["wal/1"]);
    assert.deepEqual(stores.get("parent")!.objects(), ["wal/1"]);
    assert.deepEqual(stores.get("wal")!.objects(), ["wal/1"]);
    assert.deepEqual((await run(store.list("wal/"))).objects.map((object) => object.path), ["wal/1"]);
    assert.deepEqual((await run(store.list("parent/wal/"))).objects.map((object) => object.path), ["parent/wal/1"]);
    await run(store.copy("parent/wal/1", "wal/2"));
    await run(store.copy("wal/2", "wal/3"));
    assert.deepEqual(await run(store.get("wal/3")), bytes("parent's"));
    await run(store.delete("parent/wal/1"));
    assert.deepEqual(stores.get("parent")!.objects(), []);
  });
});
