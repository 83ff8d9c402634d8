/**
 * Cursors through the faces: their states, what they see, and how moves end that cannot be made.
 *
 * @module
 */
import {
  type Bytes,
  Closed,
  type Cursor,
  DataError,
  type Db,
  type Entry,
  InvalidArgument,
  type Reads,
  Unavailable,
} from "../../mod.ts";
import { FLAG_MERGE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { READY } from "../../src/lsm/cursor.ts";
import { FULL_RANGE } from "../../src/lsm/key_range.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import {
  type CursorTask,
  RowCursor,
  TO_FIRST,
  TO_GE,
  TO_LAST,
  TO_LT,
  TO_NEXT,
  TO_PREV,
} from "../../src/lsm/row_cursor.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";
import { append, fill, withDb } from "./transaction_world.ts";

const bytes = (of: string) => new TextEncoder().encode(of);

/** "key:value", "." outside the range. */
function shown(entry: Entry | undefined): string {
  return entry === undefined ? "." : `${text(entry.key)}:${text(entry.value)}`;
}

/** Makes the moves of a script such as "first next ge:c lt:a prev" and answers what they show. */
async function run(cursor: Cursor, script: string): Promise<string> {
  const out: string[] = [];
  for (const step of script.split(" ")) {
    const [move, key] = step.split(":") as [string, string];
    const entry = await (move === "ge" ? cursor.seekGE(key) : move === "lt" ? cursor.seekLT(key) : plain(cursor, move));
    assert.equal(cursor.current, entry);
    out.push(shown(entry));
  }
  return out.join(" ");
}

function plain(cursor: Cursor, move: string): Promise<Entry | undefined> {
  switch (move) {
    case "first":
      return cursor.first();
    case "last":
      return cursor.last();
    case "next":
      return cursor.next();
    case "prev":
      return cursor.prev();
    default:
      throw new Error(`no such move: ${move}`);
  }
}

/** The same on a new cursor that is closed afterwards. */
async function go(reads: Reads, script: string, ...args: Parameters<Reads["cursor"]>): Promise<string> {
  const cursor = await reads.cursor(...args);
  try {
    return await run(cursor, script);
  } finally {
    await cursor.close();
  }
}

/** The error of a promise. */
async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then((value) => assert.fail(`it succeeded with ${value}`), (error) => error);
}

describe("a cursor over one memtable with a range tombstone", () => {
  const memtable = new Memtable();
  const put = (key: string, seq: number, value: string, merge: boolean) =>
    memtable.insert(bytes(key), 0, 1, seq, merge ? FLAG_MERGE : 0, NO_TICK, NO_EXPIRY, bytes(value), 0, value.length);
  for (const [i, value] of ["b", "c", "d"].entries()) {
    for (const key of ["a", "c"]) put(key, 10 + 2 * i, value, false);
    put("b", 10 + 2 * i, value, true);
  }
  memtable.insertRange({ start: bytes("b"), end: bytes("c"), seq: 15, createTs: NO_TICK });
  put("b", 16, "e", true);
  const view = { memtables: [memtable], l0: [], runs: [] };

  const moves = (bound: number, ...steps: Array<readonly [CursorTask, string?]>) => {
    const mergeOperator = (_key: Uint8Array, base: Uint8Array | undefined, operands: ReadonlyArray<Uint8Array>) =>
      bytes((base === undefined ? "" : text(base)) + operands.map(text).join(""));
    const cursor = new RowCursor(view, FULL_RANGE, { maxSeq: bound - 1, nowMillis: -Infinity, mergeOperator });
    return steps.map(([task, key]) =>
      cursor.move(task, key === undefined ? undefined : bytes(key)) === READY ? shown(cursor.entry) : "."
    ).join(" ");
  };
  const through = [[TO_FIRST], [TO_NEXT], [TO_NEXT], [TO_NEXT], [TO_PREV], [TO_PREV], [TO_PREV], [TO_PREV]] as const;
  const seeks = [[TO_GE, "d"], [TO_LT, "a"], [TO_GE, "b"], [TO_LT, "b"], [TO_LT, "c"], [TO_LT, "d"]] as const;

  it("shows what the bound 15 lets it see", () => {
    assert.equal(moves(15, ...through), "a:d b:bcd c:d . c:d b:bcd a:d .");
    assert.equal(moves(15, ...seeks), ". . b:bcd a:d b:bcd c:d");
  });

  it("skips what is hidden at 16, in both directions, and shows what was merged later at 17", () => {
    assert.equal(moves(16, ...through), "a:d c:d . . c:d a:d . .");
    assert.equal(moves(16, ...seeks), ". . c:d a:d a:d c:d");
    assert.equal(moves(17, [TO_LAST], [TO_PREV], [TO_PREV], [TO_NEXT]), "c:d b:e a:d b:e");
  });
});

/** The places where rows can be when they are read. */
const PLACES: Record<string, (db: Db) => Promise<unknown>> = {
  "in memory": () => Promise.resolve(),
  "in a table": (db) => db.flush({ kind: "memtable" }),
  "in a run": (db) => db.compact(),
};
const COLD = { blockCacheBytes: 0, blockSizeBytes: 1024, compactor: {} } as const;

describe("cursor", () => {
  for (const [place, bring] of Object.entries(PLACES)) {
    it(`goes through all states, ${place}`, () =>
      withDb(async (db) => {
        await fill(db, "a=1", "c=3", "e=5", "g=7");
        await bring(db);
        assert.equal(await go(db, "next next prev prev prev next"), "a:1 c:3 a:1 . . a:1", "fresh forward");
        assert.equal(await go(db, "prev prev next next next prev"), "g:7 e:5 g:7 . . g:7", "fresh backward");
        assert.equal(await go(db, "last next next prev prev next"), "g:7 . . g:7 e:5 g:7");
        assert.equal(await go(db, "first prev prev next next prev"), "a:1 . . a:1 c:3 a:1");
        assert.equal(await go(db, "ge:d next prev prev next lt:d prev next"), "e:5 g:7 e:5 c:3 e:5 c:3 a:1 c:3");
        assert.equal(await go(db, "ge:c ge:c lt:c lt:c ge:h prev lt:a next"), "c:3 c:3 a:1 a:1 . g:7 . a:1");
        const inner = { gt: "a", lte: "e" };
        assert.equal(await go(db, "next prev next next next prev", inner), "c:3 . c:3 e:5 . e:5");
        assert.equal(await go(db, "prev next", inner), "e:5 .");
        assert.equal(await go(db, "ge:a lt:z ge:f prev lt:b next lt:c ge:e", inner), "c:3 e:5 . e:5 . c:3 . e:5");
        assert.equal(await go(db, "next prev next", { gte: "d", lt: "e" }), ". . .");
        assert.equal(await go(db, "last prev", { prefix: "c" }), "c:3 .");
      }, COLD));
  }

  it("of an empty database leaves it on both sides", () =>
    withDb(async (db) => {
      assert.equal(await go(db, "next prev first last ge:a lt:a next prev"), ". . . . . . . .");
    }));

  it("skips deleted and expired keys, folds merges, and jumps over deleted ranges, in both directions", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=2", "c=3", "d=4", "e=5", "f=6");
      await db.flush({ kind: "memtable" });
      await db.delete("b");
      await db.deleteRange({ gte: "d", lt: "f" });
      await db.merge("a", "+");
      await db.merge("e", "again");
      await db.put("c", "gone", { ttl: { atMillis: 1 } });
      const forth = "a:1+ e:again f:6 .";
      const back = "f:6 e:again a:1+ .";
      for (const bring of Object.values(PLACES)) {
        await bring(db);
        assert.equal(await go(db, "next next next next"), forth);
        assert.equal(await go(db, "prev prev prev prev"), back);
        assert.equal(await go(db, "ge:b lt:e ge:d lt:d next prev"), "e:again a:1+ e:again a:1+ e:again a:1+");
      }
    }, COLD));

  it("stands on the moment of its opening, whatever is written, frozen and flushed meanwhile", () =>
    withDb(async (db) => {
      await fill(db, "b=1", "d=2");
      const cursor = await db.cursor();
      await fill(db, "a=new", "c=new", "b=new");
      assert.equal(await run(cursor, "first next"), "b:1 d:2");
      await db.deleteRange({ gte: "" });
      await db.flush({ kind: "memtable" });
      await fill(db, "e=new");
      assert.equal(await run(cursor, "next prev prev prev"), ". d:2 b:1 .");
      assert.equal(await go(db, "first next"), "e:new .");
      await cursor.close();
    }, COLD));

  it("answers from memory at the call, and others in the order of the calls", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=2", "c=3", "d=4");
      for (const bring of Object.values(PLACES)) {
        await bring(db);
        const cursor = await db.cursor();
        const key = bytes("c");
        const moves = [cursor.next(), cursor.next(), cursor.seekGE(key), cursor.prev(), cursor.last(), cursor.next()];
        key.fill(0);
        if (bring === PLACES["in memory"]) assert.equal(cursor.current, undefined, "all moves were made");
        const refused = errorOf(cursor.seekLT(""));
        assert.deepEqual((await Promise.all(moves)).map(shown), ["a:1", "b:2", "c:3", "b:2", "d:4", "."]);
        assert.ok(await refused instanceof InvalidArgument);
        await cursor.close();
      }
    }, COLD));

  it("hands out rows that the caller may write into", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=2", "c=3");
      for (const bring of Object.values(PLACES)) {
        await bring(db);
        const cursor = await db.cursor();
        for (const expected of ["a:1", "b:2", "c:3"]) {
          const entry = await cursor.next();
          assert.equal(shown(entry), expected);
          entry!.key.fill(0xff);
          entry!.value.fill(0xff);
        }
        assert.equal(await run(cursor, "prev prev next"), "b:2 a:1 b:2");
        await cursor.close();
      }
    }, COLD));

  it("refuses bad ranges, options and keys, and goes on", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=2");
      const bad: Array<[Parameters<Reads["cursor"]>, string]> = [
        [[{ gte: "b", lt: "a" }], "range-empty"],
        [[{ gt: "a", lt: "a" }], "range-empty"],
        [[{ from: "a" } as object], "range-field"],
        [[{}, { order: "descending" } as object], "options"],
        [[{}, { durability: "soon" } as object], "options"],
      ];
      for (const [args, reason] of bad) {
        const error = await errorOf(db.cursor(...args));
        assert.ok(error instanceof InvalidArgument && error.reason === reason, String(error));
      }
      const cursor = await db.cursor();
      assert.equal(await run(cursor, "next"), "a:1");
      for (const key of ["", new Uint8Array(70_000), 7 as unknown as Bytes]) {
        assert.ok(await errorOf(cursor.seekGE(key)) instanceof InvalidArgument);
        assert.ok(await errorOf(cursor.seekLT(key)) instanceof InvalidArgument);
      }
      assert.equal(await run(cursor, "next prev"), "b:2 a:1");
      await cursor.close();
    }));

  it("fails with Closed after close, and with the database", () =>
    withDb(async (db) => {
      await fill(db, "a=1");
      const cursor = await db.cursor();
      const open = await db.cursor();
      assert.equal(await run(cursor, "next"), "a:1");
      await cursor.close();
      assert.equal(cursor.current, undefined);
      for (const error of await Promise.all([cursor.next(), cursor.seekLT("b"), cursor.close()].map(errorOf))) {
        assert.ok(error instanceof Closed && /cursor/.test(error.message), String(error));
      }
      await cursor[Symbol.asyncDispose]();
      const snapshot = await db.snapshot();
      const inSnapshot = await snapshot.cursor();
      snapshot.release();
      const released = await errorOf(inSnapshot.next());
      assert.ok(released instanceof InvalidArgument && released.reason === "released");
      await db.close();
      assert.ok(await errorOf(open.next()) instanceof Closed);
      await open.close();
    }));

  it("sees what its options say", () =>
    withDb(async (db) => {
      await fill(db, "a=1");
      await db.put("b", "2", { durable: false });
      await db.put("c", "gone", { ttl: { atMillis: 1 }, durable: false });
      assert.equal(await go(db, "next next next"), "a:1 b:2 .");
      assert.equal(await go(db, "next next", {}, { durability: "durable" }), "a:1 .");
      assert.equal(await go(db, "last prev", {}, { ttl: "slatedb" }), "c:gone b:2");
      await db.flush();
      assert.equal(await go(db, "next next", {}, { durability: "durable" }), "a:1 b:2");
    }, { flushIntervalMillis: null }));

  it("brings blocks into the cache, or leaves it alone", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=2");
      await db.flush({ kind: "memtable" });
      assert.equal(await go(db, "next next", {}, { cacheBlocks: false }), "a:1 b:2");
      assert.equal(typeof db.getCached("a"), "symbol", "not cached");
      assert.equal(await go(db, "next"), "a:1");
      assert.equal(text(db.getCached("a") as Uint8Array), "1");
    }, { blockCacheBytes: 1 << 20 }));
});

describe("cursor, when something fails", () => {
  /** Forty rows in a table that no cache keeps, one block each. */
  async function cold(): Promise<{ world: ReaderWorld; db: Db }> {
    const world = new ReaderWorld({ blockCacheBytes: 0, blockSizeBytes: 1024, mergeOperator: append });
    const db = await world.open();
    for (let i = 10; i < 50; i++) await db.put(`k${i}`, "v".repeat(5000), { durable: false });
    await world.get(db.flush({ kind: "memtable" }));
    return { world, db };
  }
  const key = (entry: Entry | undefined) => text(entry?.key);

  const errorsOf = (world: ReaderWorld, ...moves: Array<Promise<unknown>>) =>
    world.get(Promise.all(moves.map(errorOf)), 100_000);

  it("an aborted move leaves it where it was", async () => {
    const { world, db } = await cold();
    const gone = new AbortController();
    gone.abort(new Error("too late"));
    assert.equal(await world.error(db.cursor({}, { signal: gone.signal })), gone.signal.reason);
    const stop = new AbortController();
    const cursor = await db.cursor({}, { signal: stop.signal });
    assert.equal(key(await world.get(cursor.seekGE("k20"))), "k20");
    world.store.controls.addRules({ op: "getRange", fault: { kind: "hang", when: "before" } });
    const hanging = cursor.seekGE("k45");
    const behind = cursor.next();
    stop.abort(new Error("enough"));
    for (const error of await errorsOf(world, hanging, behind, cursor.prev())) assert.equal(error, stop.signal.reason);
    assert.equal(key(cursor.current), "k20");
    await cursor.close();
    await world.get(db.close());
  });

  it("an error of the store stays with it", async () => {
    const { world, db } = await cold();
    const cursor = await db.cursor();
    assert.equal(key(await world.get(cursor.next())), "k10");
    world.store.controls.addRules({ op: "getRange", rate: 1, fault: { kind: "before", reason: "permission" } });
    const error = await world.error(cursor.seekGE("k45"), 100_000);
    assert.ok(error instanceof Unavailable, String(error));
    world.store.controls.quiet();
    for (const later of await errorsOf(world, cursor.next(), cursor.first(), cursor.seekLT("k11"))) {
      assert.equal(later, error);
    }
    await cursor.close();
    await world.get(db.close());
  });

  it("damage of a block stays with it, and does not concern others", async () => {
    const { world, db } = await cold();
    const path = world.paths("compacted")[0]!;
    const sound = world.inner.peek(path)!;
    const damaged = sound.slice();
    damaged[damaged.length >> 1]! ^= 0xff;
    const cursor = await db.cursor();
    const other = await db.cursor();
    world.inner.plant(path, damaged);
    let error: unknown;
    for (let i = 0; i < 40 && error === undefined; i++) {
      error = await world.get(cursor.next().then(() => undefined, (e) => e));
    }
    assert.ok(error instanceof DataError && error.object === path, String(error));
    world.inner.plant(path, sound);
    assert.equal(await world.error(cursor.first()), error);
    assert.equal(key(await world.get(other.last())), "k49");
    await cursor.close();
    await other.close();
    await world.get(db.close());
  });

  it("an operator that fails, or is missing, fails the moves that need it", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "c=3");
      await db.merge("b", "!");
      const cursor = await db.cursor();
      assert.equal(await run(cursor, "next"), "a:1");
      const error = await errorOf(cursor.next());
      assert.match(String(error), /refused by the operator/);
      assert.equal(String(await errorOf(cursor.last())), String(error));
      assert.equal(await go(db, "last next ge:c"), "c:3 . c:3");
      await cursor.close();
    }));
});
