/** What a reader says with a range ("fresh", how far it may be read) reaches the store below every decorator. */
import { Effect } from "effect";
import { guardConditions } from "../../src/db/conditional_check.ts";
import { stackStores } from "../../src/db/stores.ts";
import { diskCache } from "../../src/store/disk_cache.ts";
import { withDeadlines } from "../../src/store/doctor/deadline_store.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { metered } from "../../src/store/metered_store.ts";
import type { ObjectStoreShape, ReadHint } from "../../src/store/object_store.ts";
import { retrying } from "../../src/store/retrying_store.ts";
import { siblingFolders, withSiblings } from "../../src/store/sibling_folders.ts";
import { storeBelow } from "../../src/store/store_below.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

const PATH = "db/compacted/01JD0000000000000000000001.sst";
const LOG = "db/wal/00000000000000000001.sst";

/** A store that has every object, and notes the hints that come with ranges. */
function noting(): { readonly store: ObjectStoreShape; readonly hints: Array<ReadHint | undefined> } {
  const hints: Array<ReadHint | undefined> = [];
  const store: ObjectStoreShape = {
    ...memoryStore(),
    provider: { endpoint: "noting", conditionalCreate: "unknown" },
    getRange: (_path, range, hint) =>
      Effect.sync(() => {
        hints.push(hint);
        return new Uint8Array(range.length);
      }),
  };
  return { store, hints };
}

const guardedMain = (store: ObjectStoreShape): ObjectStoreShape =>
  Effect.runSync(guardConditions(stackStores(store, undefined, () => {}))).stores.main;

const DECORATORS: ReadonlyArray<readonly [string, (inner: ObjectStoreShape) => ObjectStoreShape]> = [
  ["retrying", (inner) => retrying(inner)],
  ["metered", (inner) => metered(inner, { component: "db" })],
  ["faultyStore", (inner) => faultyStore(inner)],
  ["storeBelow", (inner) => storeBelow(inner, "below")],
  ["siblingFolders", (inner) => siblingFolders(() => inner)],
  ["withSiblings, own", (inner) => withSiblings(inner, memoryStore())],
  ["withSiblings, beside", (inner) => withSiblings(memoryStore(), inner)],
  ["withDeadlines", (inner) => withDeadlines(inner)],
  ["stackStores", (inner) => stackStores(inner, undefined, () => {}).mainFor("gc", false)],
  ["guardConditions", guardedMain],
];

describe("ReadHint", () => {
  for (const [name, decorate] of DECORATORS) {
    it(`passes through ${name}`, async () => {
      const { store, hints } = noting();
      const path = name === "withSiblings, own" ? PATH.slice(3) : PATH;
      const hint: ReadHint = { knownEnd: 77, fresh: true };
      await Effect.runPromise(decorate(store).getRange(path, { offset: 0, length: 5 }, hint));
      assert.deepEqual(hints, [hint]);
    });
  }

  it("passes through diskCache", { skip: canUseDisk() ? false : "needs the disk" }, () =>
    inFolder(async (folder) => {
      const { store, hints } = noting();
      const cache = diskCache(store, { folder, identity: "test" });
      const hint: ReadHint = { knownEnd: 77, fresh: true };
      for (const path of [PATH, LOG]) await Effect.runPromise(cache.getRange(path, { offset: 0, length: 5 }, hint));
      assert.deepEqual(hints, [hint, hint]);
      await Effect.runPromise(cache.close);
    }));
});
