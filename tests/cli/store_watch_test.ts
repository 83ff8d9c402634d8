/**
 * Writing commands while the store takes nothing, in virtual time.
 *
 * @module
 */
import { open } from "../../mod.ts";
import { Printer } from "../../src/cli/output.ts";
import { GIVE_UP_MILLIS, watchingStore } from "../../src/cli/store_watch.ts";
import { CommandFailure } from "../../src/cli/usage_error.ts";
import { contextWithClock, Runtime } from "../../src/db/runtime.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";

/** A database on a full disk, and a command that puts one row into it. */
async function putOnFullDisk(isTerminal: boolean) {
  const clock = virtualClock(1_000_000);
  const store = faultyStore(memoryStore());
  const opening = open({ store, path: "" }, { clock, flushIntervalMillis: null });
  await clock.advance(1000);
  const db = await opening;
  store.controls.addRules({
    op: "putIfAbsent",
    prefix: "wal/",
    rate: 1,
    fault: { kind: "before", reason: "disk-full" },
  });
  const said: string[] = [];
  const write = (bytes: Uint8Array) => Promise.resolve(void said.push(new TextDecoder().decode(bytes)));
  const context = {
    err: new Printer({ isTerminal, columns: 80, write }),
    runtime: new Runtime(contextWithClock(clock)),
  };
  const ends: unknown[] = [];
  watchingStore(context, db, () => db.put("a", "1")).then(({ seq }) => ends.push(seq), (error) => ends.push(error));
  return { clock, store, db, said, ends };
}

describe("watchingStore", () => {
  it("watchingStore says once that the store is full, and goes on when it is not", async () => {
    const { clock, store, db, said, ends } = await putOnFullDisk(false);
    await clock.advance(29_000);
    assert.deepEqual(said, []);
    await clock.advance(3_000);
    assert.equal(said.length, 1);
    assert.match(
      said[0]!,
      /^phyllite: the store does not take writes \(The object store has not taken a write since [-0-9:TZ]+: disk-full\); still/,
    );
    assert.match(db.status.warnings.at(-1)!, /^The object store has not taken a write since [-0-9:TZ]+: disk-full$/);
    store.controls.quiet();
    await clock.advance(GIVE_UP_MILLIS * 2);
    assert.deepEqual([ends, said.length, db.status.degraded, db.status.warnings], [[1], 1, false, []]);
  });

  it("watchingStore gives up after a minute where nobody looks on, and never at a terminal", async () => {
    const script = await putOnFullDisk(false);
    await script.clock.advance(30_000 + GIVE_UP_MILLIS + 2_000);
    assert.equal(script.ends.length, 1);
    const [error] = script.ends;
    assert.ok(error instanceof CommandFailure && /Gave up.*disk-full/.test(error.message), String(error));
    const person = await putOnFullDisk(true);
    await person.clock.advance(10 * GIVE_UP_MILLIS);
    assert.deepEqual([person.ends, person.said.length], [[], 1]);
  });
});
