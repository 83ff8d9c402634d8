/** What an outage costs: bounded requests however many callers wait, and everything as before when it ends. */
import { assert, describe, it } from "../support/suite.ts";
import { filled, OutageWorld, SMALL } from "./outage_world.ts";

/** Requests that one process may make in a minute of an outage: its turns, and what the clock's steps round up. */
const PER_MINUTE = 600 + 20;
const KEYS = 600;

describe("B1 an outage of three minutes", () => {
  it("with a writer, its compactor and collector, a reader and 540 callers: no storm, no loss, all answered in order", async () => {
    const world = new OutageWorld(SMALL);
    const db = await filled(world, KEYS);
    const reader = await world.reader({ mode: "managed" });
    const cold = world.askers(db, 120, KEYS);
    const elsewhere = world.askers(reader, 120, KEYS);
    await world.pass(10_000);
    assert.ok(cold.values > 300 && elsewhere.values > 300 && cold.refused + elsewhere.refused === 0);
    world.store.controls.setOutage(true);
    const written = world.puts(db, KEYS, KEYS + 300);
    const minutes = await world.minutes(3);
    for (const count of minutes.slice(1)) assert.ok(count <= 2 * PER_MINUTE, `requests per minute: ${minutes}`);
    assert.ok(minutes[0]! <= 2 * PER_MINUTE + 600, `requests of the first minute: ${minutes[0]}`);
    assert.ok(cold.longestMillis <= 11_000 && elsewhere.longestMillis <= 11_000, "a read waited beyond its deadline");
    assert.equal(written.answered.length, 0);
    const { degraded, backpressure, unflushedBytes, closeReason, warnings } = db.status;
    assert.deepEqual({ degraded, backpressure, closeReason }, {
      degraded: true,
      backpressure: true,
      closeReason: undefined,
    });
    assert.ok(unflushedBytes < SMALL.maxUnflushedBytes! * 3 + 300 * 200, `${unflushedBytes} bytes wait`);
    assert.match(warnings.at(-1)!, /^The object store has not taken a write since 1970-01-01T00:.*: unavailable/);
    assert.match(reader.status.trouble ?? "", /unavailable/);
    assert.equal((await db.get("key 00600"))?.length, 100, "memory answers");
    cold.refused =
      elsewhere.refused =
      cold.values =
      elsewhere.values =
        0;
    world.store.controls.quiet();
    await world.pass(2_000);
    assert.ok(cold.values > 120 && elsewhere.values > 120, `${cold.values}, ${elsewhere.values} values in 2 s`);
    await world.pass(20_000);
    assert.deepEqual(written.answered, Array.from({ length: 300 }, (_, i) => KEYS + i));
    assert.deepEqual([db.status.degraded, db.status.backpressure, db.status.warnings], [false, false, []]);
    assert.equal(reader.status.trouble, undefined);
    await world.rest();
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(reader.close());
    await world.get(db.close());
    assert.equal((await world.contents()).size, KEYS + 300);
  });
});
