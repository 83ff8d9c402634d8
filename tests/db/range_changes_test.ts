import { changes } from "../../mod.ts";
import type { Change } from "../../src/db/admin_api.ts";
import { walPath } from "../../src/format/paths.ts";
import { FLAG_CREATE, FLAG_RANGE_DELETE, NO_EXPIRY, RANGE_DELETES } from "../../src/format/types.ts";
import { WalSstBuilder } from "../../src/format/wal_sst.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { everything, Feed, plantManifest, said } from "./changes_world.ts";
import { World } from "./fault_world.ts";

/** A row of a log: a put, or a range delete from `key` to `end`. */
interface LogRow {
  readonly key: string;
  readonly seq: number;
  /** Exclusive; "" = to the last key. Absent for a put. */
  readonly end?: string;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function walOf(rows: readonly LogRow[]): Uint8Array {
  const options = { blockSizeBytes: 64, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 } as const;
  const builder = new WalSstBuilder(options);
  for (const { key, seq, end } of rows) {
    const [k, v] = [bytes(key), bytes(end ?? "v")];
    const flags = end === undefined ? FLAG_CREATE : FLAG_RANGE_DELETE | FLAG_CREATE;
    builder.add(k, 0, k.length, seq, flags, 1000 + seq, NO_EXPIRY, v, 0, v.length);
  }
  return builder.finish();
}

/** A database whose log is made by hand, of objects from 1 on. */
function planted(objects: ReadonlyArray<readonly LogRow[]>, replayAfterWalId = 0, lastL0Seq = 0): World {
  const world = new World({}, memoryStore());
  objects.forEach((rows, i) => world.inner.plant(walPath("", i + 1), walOf(rows)));
  plantManifest(world.inner, {
    writerEpoch: 1,
    features: [RANGE_DELETES],
    replayAfterWalId,
    walIdLastSeen: replayAfterWalId,
    lastL0Seq,
  });
  return world;
}

const LOG: ReadonlyArray<readonly LogRow[]> = [
  [{ key: "a", seq: 1 }, { key: "", seq: 2, end: "b" }],
  // One batch of four, over several blocks.
  [
    { key: "c", seq: 3, end: "f" },
    { key: "k", seq: 3, end: "" },
    { key: "d", seq: 3 },
    { key: "e".repeat(80), seq: 3 },
  ],
  [],
  [{ key: "", seq: 4, end: "" }, { key: "z", seq: 5 }],
];

describe("changes, of range deletes", () => {
  it("gives them as changes of their own kind, in order, at their place before the rows of their batch", async () => {
    const world = planted(LOG);
    assert.deepEqual(await everything(world), [
      "put a=v @1",
      "deleteRange ..b @2",
      "deleteRange c..f @3",
      "deleteRange k.. @3",
      "put d=v @3",
      `put ${"e".repeat(80)}=v @3`,
      "deleteRange .. @4",
      "put z=v @5",
    ]);
  });

  it("tells bounds as deleteRange takes them, the time, and which change is the last of its number", async () => {
    const world = planted(LOG);
    const seen: Change[] = [];
    for await (const change of changes({ store: world.inner, path: "" }, { fromSeq: 2, follow: false })) {
      seen.push(change);
    }
    assert.deepEqual(seen[0], {
      kind: "deleteRange",
      range: { gte: bytes(""), lt: bytes("b") },
      seq: 2,
      isLast: true,
      createdAt: 1002,
    });
    const [, , open] = seen;
    assert.ok(open?.kind === "deleteRange" && !("lt" in open.range), "to the last key: no bound");
    assert.deepEqual(seen.map(({ seq, isLast }) => `${seq}${isLast ? "!" : ""}`), [
      "2!",
      "3",
      "3",
      "3",
      "3!",
      "4!",
      "5!",
    ]);
  });

  it("resumes at the number of a range delete, alone or first of a batch, above and below the replay boundary", async () => {
    for (const [boundary, lastL0Seq] of [[0, 0], [3, 3], [4, 5]]) {
      const world = planted(LOG, boundary, lastL0Seq);
      const all = await everything(world);
      assert.equal(all.length, 8);
      for (let seq = 1; seq <= 6; seq++) {
        const wanted = all.filter((one) => Number(one.split("@")[1]) >= seq);
        assert.deepEqual(await everything(world, { fromSeq: seq }), wanted, `from ${seq}, boundary ${boundary}`);
      }
    }
  });

  it("goes on with a range delete that comes while it follows", async () => {
    const world = planted(LOG);
    const feed = new Feed(world, { fromSeq: 5 });
    assert.equal(await feed.next(), "put z=v @5");
    await feed.quiet(3000);
    world.inner.plant(walPath("", 5), walOf([{ key: "m", seq: 6, end: "n" }]));
    assert.equal(await feed.next(), "deleteRange m..n @6");
    await feed.end();
  });

  it("gives what a consumer needs to build the same state, a batch that deletes and writes included", async () => {
    const world = planted(LOG);
    const state = new Map<string, string>();
    for await (const change of changes({ store: world.inner, path: "" }, { fromSeq: 1, follow: false })) {
      const text = (of: Uint8Array) => new TextDecoder().decode(of);
      if (change.kind === "deleteRange") {
        const { gte, lt } = change.range;
        for (const key of state.keys()) {
          if (key >= text(gte) && (lt === undefined || key < text(lt))) state.delete(key);
        }
      } else state.set(text(change.key), text(change.value));
      if (said(change) === "put d=v @3") assert.ok(state.has("d"), "the batch's own put stays");
    }
    assert.deepEqual([...state], [["z", "v"]]);
  });
});
