/**
 * What a person reads when a database can not be opened: the place, the reason, and what to do.
 *
 * @module
 */
import { Effect } from "effect";
import {
  collectGarbage,
  deleteClone,
  InvalidArgument,
  listCheckpoints,
  open,
  openCompactor,
  openReader,
  Unavailable,
} from "../../mod.ts";
import { asDbError } from "../../src/db/failures.ts";
import { resolveLocation } from "../../src/db/location.ts";
import { type OpenOptions, resolveOptions } from "../../src/db/options.ts";
import { StoreError, type StoreErrorReason } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("resolveLocation", () => {
  const refusals: ReadonlyArray<readonly [location: string, message: RegExp]> = [
    ["file:relative", /file: URL has the whole path.*file:\/\/\/srv\/data/],
    ["file:./x", /whole path/],
    ["memory", /give "memory:" for the memory, "\.\/memory" for a folder/],
    ["~/data", /"~" means your home only to a shell/],
    ["~", /"~" means/],
    ["memory://x", /"memory:" takes no name/],
    ["s3:bucket", /give s3:\/\/bucket\/prefix/],
    ["S3://", /the bucket is missing/],
    ["gs://bucket", /unknown scheme "gs:"; give a folder/],
    ["", /the path is empty/],
  ];
  for (const [location, message] of refusals) {
    it(`resolveLocation refuses "${location}" and says what to give`, async () => {
      const error = await Effect.runPromise(Effect.flip(resolveLocation(location)));
      assert.equal(error.reason, "location");
      assert.match(error.message, message);
    });
  }

  it("resolveLocation takes folders and file: URLs and names them", async () => {
    const nameOf = async (location: string) => (await Effect.runPromise(resolveLocation(location))).name;
    assert.equal(await nameOf("file:///srv/data"), "/srv/data");
    assert.equal(await nameOf("file:/srv/data"), "/srv/data");
    assert.equal(await nameOf("/srv/data/"), "/srv/data");
    assert.match((await nameOf("./memory"))!, /\/memory$/);
    assert.match((await nameOf("./~"))!, /\/~$/);
  });
});

describe("resolveOptions", () => {
  const refused = (options: object): string => {
    try {
      resolveOptions(options as OpenOptions);
    } catch (error) {
      assert.ok(error instanceof InvalidArgument && error.reason === "options", String(error));
      return error.message;
    }
    throw new assert.AssertionError({ message: "taken" });
  };

  it("resolveOptions names every unknown option, and those it knows", () => {
    const message = refused({ l0SstSizeByte: 1, create: true, walls: undefined });
    assert.match(
      message,
      /^Cannot open: options: unknown options l0SstSizeByte, walls; known are create, errorIfExists/,
    );
    assert.match(
      refused({ compactor: { a: 1, b: 1 } }),
      /unknown options compactor.a, compactor.b; known are scheduler,/,
    );
    assert.match(
      refused({ garbageCollector: { a: 1 } }),
      /unknown option garbageCollector.a; known are intervalMillis,/,
    );
    for (const wrong of [true, null, 3]) {
      assert.match(refused({ compactor: wrong }), /option compactor: .* false for none; leave it out for the default/);
    }
    assert.match(refused({ wla: 1 }), /unknown option wla; known are .*l0SstSizeBytes/);
  });

  it("resolveOptions keeps the path of a field with a wrong value", () => {
    assert.match(refused({ l0SstSizeBytes: "big" }), /\["l0SstSizeBytes"\]/);
    assert.match(refused({ wal: { stroe: 1 } }), /\["wal"\]/);
  });
});

describe("calls that need a database or a compactor's options", () => {
  const cases: ReadonlyArray<readonly [call: () => Promise<unknown>, message: RegExp]> = [
    [
      () => openCompactor("memory:", { schedular: 1 } as never),
      /^Cannot start .*unknown option schedular; known are sch/,
    ],
    [() => openCompactor("memory:", { scheduler: "x" as never }), /^Cannot start the compactor: option scheduler: Exp/],
    [
      () => openCompactor("memory:", { compression: 1 as never }),
      /^Cannot start the compactor: option compression: Exp/,
    ],
    [
      () => openCompactor("memory:", { minCompactionSources: 9, maxCompactionSources: 3 }),
      /^Cannot start the compactor: option maxCompactionSources: must/,
    ],
    [
      () => openCompactor("memory:", { thread: true }),
      /^Cannot start the compactor: option thread: .*leave out thread$/,
    ],
    [() => openReader("memory:", { mode: "pinned" as never }), /give checkpoint: id/],
    ...[openReader, openCompactor, listCheckpoints, collectGarbage, deleteClone].map((call) =>
      [() => call("memory:"), /"memory:" is private to each opening.*memoryStore\(\)/] as const
    ),
  ];
  for (const [i, [call, message]] of cases.entries()) {
    it(`calls say what to give instead, ${i + 1}`, () => assert.rejects(call(), { message }));
  }
});

describe("open", () => {
  it("open names the place where there is no database, or one too many", async () => {
    const store = memoryStore();
    const missing = (error: unknown) =>
      error instanceof InvalidArgument && error.reason === "missing-database" &&
      error.message.includes('none in "orders" of the given store') && error.message.includes("create is false");
    await assert.rejects(open({ store, path: "orders" }, { create: false }), missing);
    await (await open({ store, path: "orders" })).close();
    await assert.rejects(open({ store, path: "orders" }, { errorIfExists: true }), /there is one in "orders"/);
  });

  const remedies: ReadonlyArray<readonly [StoreErrorReason, RegExp, typeof InvalidArgument | typeof Unavailable]> = [
    ["permission", /check what rights/, Unavailable],
    ["disk-full", /make room/, Unavailable],
    ["unavailable", /try again when the object store answers/, Unavailable],
    ["unsupported", /choose a store/, Unavailable],
    ["invalid-path", /Give a folder as the location/, InvalidArgument],
  ];
  for (const [reason, remedy, kind] of remedies) {
    it(`a store that fails for ${reason} ends in a sentence on what to do about it`, () => {
      const detail = "folder /srv/data: ECODE";
      const error = asDbError(
        new StoreError({ op: "put", path: "wal/1", reason, retryable: true, outcome: "none", detail }),
      );
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, remedy);
      assert.ok(error.message.includes(detail), error.message);
    });
  }

  it("a store that answers, but will not by itself, is not said to be waited for", () => {
    const detail = 'there is no bucket "orders" there; make it first, or check the name';
    const { message } = asDbError(
      new StoreError({ op: "list", path: "wal/", reason: "unavailable", retryable: false, outcome: "none", detail }),
    );
    assert.match(message, /does not pass by itself: mend that, then try again$/);
  });
});
