import { seededIds, UlidMint } from "../../src/env/ids.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { ulidMillis } from "../../src/format/ulid.ts";
import { NO_TICK } from "../../src/format/types.ts";
import { Sequencer } from "../../src/state/sequencer.ts";
import { SnapshotRegistry } from "../../src/state/snapshot_registry.ts";
import { WalLedger } from "../../src/state/wal_ledger.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("sequencer", () => {
  it("S1 hands out sequence numbers without gaps, from the restored one", () => {
    const sequencer = new Sequencer(0);
    assert.deepEqual([sequencer.next(), sequencer.next()], [1, 2]);
    sequencer.restore(41, NO_TICK);
    assert.equal(sequencer.next(), 42);
    assert.equal(sequencer.durableSeq, 41, "what was restored is durable, what was handed out is not");
  });

  it("S3 tick repeats the last one within the tolerance and refuses beyond it without taking anything", () => {
    const sequencer = new Sequencer(10);
    assert.equal(sequencer.tick(100), 100);
    assert.equal(sequencer.tick(90), 100);
    assert.throws(
      () => sequencer.tick(89),
      (error) => error instanceof InvalidArgument && error.reason === "clock-behind",
    );
    assert.equal(sequencer.lastSeq, 0);
    assert.equal(sequencer.tick(101), 101);
  });

  it("readTime never goes back, so an expired row stays hidden when the clock steps back", () => {
    const sequencer = new Sequencer(1000);
    sequencer.tick(50);
    assert.equal(sequencer.readTime(80), 80);
    assert.equal(sequencer.readTime(60), 80);
  });
});

describe("snapshot registry", () => {
  it("oldest is the smallest open number, counts equal ones, and release works once", () => {
    const registry = new SnapshotRegistry();
    assert.equal(registry.oldest(9), 9);
    const first = registry.register(5);
    const second = registry.register(5);
    registry.register(7);
    first();
    first();
    assert.equal(registry.oldest(9), 5);
    second();
    assert.equal(registry.oldest(9), 7);
    assert.equal(registry.size, 1);
  });
});

describe("WAL ledger", () => {
  it("W3 the boundary is the last object whose rows are all in tables, fences included", () => {
    const ledger = new WalLedger(3);
    ledger.stored(4, 10);
    ledger.stored(5, 0); // a fence in between
    ledger.stored(6, 25);
    assert.equal(ledger.boundaryFor(9), 3);
    assert.equal(ledger.boundaryFor(10), 5);
    assert.equal(ledger.boundaryFor(24), 5);
    assert.equal(ledger.boundaryFor(25), 6);
    ledger.published(5);
    assert.equal(ledger.pending, 1);
    assert.equal(ledger.boundaryFor(24), 5);
  });

  it("W3 an object that holds older numbers than its predecessor does not lower the bar", () => {
    const ledger = new WalLedger(0);
    ledger.stored(1, 30);
    ledger.stored(2, 20);
    assert.equal(ledger.boundaryFor(29), 0);
    assert.equal(ledger.boundaryFor(30), 2);
  });

  it("W3 an id at or below the last one is a broken invariant", () => {
    const ledger = new WalLedger(3);
    assert.throws(() => ledger.stored(3, 1), /invariant W3/);
  });
});

describe("ULID mint", () => {
  it("ids rise strictly, also within a millisecond and when the clock steps back", () => {
    const mint = new UlidMint(seededIds(7));
    let last = "";
    for (const now of [1000, 1000, 1000, 999, 5, 1001, 1001]) {
      const id = mint.mint(now);
      assert.ok(id > last, `${id} after ${last}`);
      last = id;
    }
    assert.ok(ulidMillis(last) >= 1001 && ulidMillis(last) <= 1008, "at most a millisecond ahead per id");
  });

  it("ids lie above the newest one observed and are not its neighbours", () => {
    const mint = new UlidMint(seededIds(7));
    mint.observe("0000000ZZZZZZZZZZZZZZZZZZY");
    const id = mint.mint(0);
    assert.ok(id > "0000000ZZZZZZZZZZZZZZZZZZY");
    assert.notEqual(id.slice(0, 20), "0000000ZZZZZZZZZZZZZ");
  });
});
