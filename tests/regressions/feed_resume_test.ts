/**
 * A consumer of the change feed that stops anywhere, also in the middle of a batch, and goes on as documented.
 *
 * @module
 */
import { changes, WriteBatch } from "../../mod.ts";
import { walPath } from "../../src/format/paths.ts";
import { said, walObject } from "../db/changes_world.ts";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";

/** Takes `count` changes (or all there are) from `fromSeq` on; answers them and where the documented rule goes on. */
async function take(
  world: World,
  fromSeq: number,
  count: number,
): Promise<{ readonly rows: string[]; readonly next: number }> {
  const feed = changes({ store: world.store, path: "" }, { clock: world.clock, follow: false, fromSeq });
  const iterator = feed[Symbol.asyncIterator]();
  const rows: string[] = [];
  let next = fromSeq;
  while (rows.length < count) {
    const { done, value } = await world.get(iterator.next(), 10_000);
    if (done === true) break;
    rows.push(said(value));
    next = value.isLast ? value.seq + 1 : value.seq;
  }
  await iterator.return!();
  return { rows, next };
}

async function resumedEverywhere(world: World): Promise<void> {
  const all = await take(world, 1, Infinity);
  for (let stop = 1; stop <= all.rows.length; stop++) {
    const first = await take(world, 1, stop);
    const rest = await take(world, first.next, Infinity);
    assert.deepEqual([...new Set([...first.rows, ...rest.rows])], all.rows, `stopped after ${stop}`);
    const isLast = stop === all.rows.length || all.rows[stop - 1]!.split("@")[1] !== all.rows[stop]!.split("@")[1];
    assert.equal(first.rows.length + rest.rows.length > all.rows.length, !isLast, "a batch comes again as a whole");
  }
}

describe("a change feed that is resumed", () => {
  it("misses no row, wherever the consumer stopped", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.get(db.write(new WriteBatch().put("b1", "x").delete("b2").put("b3", "x")));
    await world.get(Promise.all([db.put("c", "1"), db.write(new WriteBatch().put("d1", "x").put("d2", "x"))]));
    await resumedEverywhere(world);
    await world.get(db.close());
  });

  it("knows the last row of a batch that is larger than what is handed over at a time", async () => {
    const world = new World();
    const db = await world.open();
    const batch = new WriteBatch();
    for (let i = 0; i < 600; i++) batch.put(`k${String(i).padStart(3, "0")}`, "v");
    await world.get(db.write(batch));
    await world.get(db.put("z", "1"));
    for (const stop of [255, 256, 257, 512, 599]) assert.equal((await take(world, 1, stop)).next, 1, `${stop}`);
    assert.equal((await take(world, 1, 600)).next, 2);
    assert.deepEqual(await take(world, 2, Infinity), { rows: ["put z=1 @2"], next: 3 });
    await world.get(db.close());
  });

  it("knows it in objects whose rows stand in the order of their keys", async () => {
    const world = new World();
    await world.get((await world.open()).close());
    world.inner.plant(walPath("", world.manifest.walIdLastSeen + 1), walObject([3, 1, 2]));
    const { rows, next } = await take(world, 1, Infinity);
    assert.deepEqual([rows.length, next], [3, 4]);
    assert.equal((await take(world, 1, 2)).next, 3);
  });
});
