/** Stores that fail in part: throttling, slowness, lost answers, writes or listings only, one of two stores, no rights. */
import type { Db } from "../../src/db/api.ts";
import { Unavailable } from "../../src/errors.ts";
import { type FaultRule, type FaultyStore, faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { filled, keyOf, OutageWorld, SMALL, VALUE } from "./outage_world.ts";

const MINUTE = 60_000;
/** What must never be said of an outage. */
const DAMAGE = /checksum|malformed|truncated|missing-object|wal-gap|defect|cannot be read/i;

/** Notes everything that the status says; fails at the end when it closed or spoke of damage. */
function watch(db: Db): { readonly said: Set<string>; readonly check: () => void } {
  const said = new Set<string>();
  db.onStatus(({ warnings, degraded }) => {
    for (const warning of warnings) said.add(warning);
    if (degraded) said.add("degraded");
  });
  return {
    said,
    check: () => {
      assert.equal(db.status.closeReason, undefined);
      for (const text of said) assert.ok(!DAMAGE.test(text), text);
    },
  };
}

/** Makes the store sound, waits until nothing is left to do, closes, and compares with what must be there. */
async function recovers(world: OutageWorld, db: Db, keys: number, withinMillis = 30_000): Promise<void> {
  world.store.controls.quiet();
  await world.get(db.flush({ kind: "memtable" }), withinMillis);
  assert.deepEqual([db.status.degraded, db.status.backpressure], [false, false]);
  await world.get(db.close());
  const contents = await world.contents();
  assert.deepEqual([...contents.keys()], Array.from({ length: keys }, (_, i) => keyOf(i)));
  assert.ok([...contents.values()].every((value) => value === VALUE));
}

/** Objects below compacted/ that neither the newest manifest nor a checkpoint reaches. */
function orphans(world: OutageWorld): string[] {
  const { l0, compacted, checkpoints } = world.manifest;
  assert.equal(checkpoints.length, 0, "checkpoints are left");
  const named = new Set([...l0, ...compacted.flatMap((run) => run.ssts)].map((view) => `compacted/${view.sstId}.sst`));
  return world.paths("compacted").filter((path) => !named.has(path));
}

describe("a store that throttles nine of ten requests for ten minutes", () => {
  it("is left in peace, hears the writer first, and is told apart; nothing is lost", async () => {
    const world = new OutageWorld(SMALL);
    const db = await filled(world, 300);
    const { said, check } = watch(db);
    world.store.controls.addRules({ rate: 0.9, fault: { kind: "before", reason: "throttled" } });
    const met = world.askers(db, 20, 300);
    const written = world.puts(db, 300, 600);
    const minutes = await world.minutes(10);
    assert.ok(written.answered.length > 20, `${written.answered.length} writes in ten minutes`);
    assert.deepEqual(written.answered, written.answered.map((_, i) => 300 + i), "answered in call order");
    assert.ok(met.values > 0 && met.longestMillis <= 11_000);
    // Twenty callers' first attempts, and about a turn a second with what successes give back.
    const repeated = minutes.map((count) => count - 60 * 20 * 2);
    assert.ok(repeated.every((count) => count <= 200), `requests per minute: ${minutes}`);
    assert.ok([...said].some((text) => /since .*: throttled, it asks for fewer requests/.test(text)), [...said].join());
    await world.rest();
    world.store.controls.quiet();
    await world.get(written.all, 20_000);
    check();
    await recovers(world, db, 600);
  });

  it("opening gives up at its deadline, says throttled, and leaves nothing half", async () => {
    const world = new OutageWorld(SMALL);
    await world.get((await filled(world, 50)).close());
    const before = world.inner.objects();
    world.store.controls.addRules({ rate: 1, fault: { kind: "before", reason: "throttled" } });
    const outcome = await world.outcome(world.open(), 60_000);
    assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable, outcome.ended);
    assert.deepEqual([outcome.error.reason, outcome.afterMillis <= 11_000], ["throttled", true]);
    assert.match(outcome.error.message, /fewer/);
    assert.deepEqual(world.inner.objects(), before);
    world.store.controls.quiet();
    await recovers(world, await world.open(), 50);
  });
});

describe("a store that takes five seconds for everything", () => {
  it("opens, writes, compacts, reads, collects and closes, with a warning and not degraded", async () => {
    const world = new OutageWorld({ ...SMALL, requestTimeoutMillis: 60_000 });
    world.store.controls.setLatency(5000);
    const db = await world.open();
    assert.match(
      db.status.warnings.join(),
      /^The object store is slow: requests take 5.0 s, since 1970-01-01T00:16:40Z$/,
    );
    const { said, check } = watch(db);
    const reader = await world.reader({ mode: "follow" });
    for (let i = 0; i < 300; i += 100) await world.get(world.puts(db, i, i + 100).all, 600_000);
    await world.get(db.flush({ kind: "memtable" }), 600_000);
    await world.get(db.compact(), 3_600_000);
    assert.equal((await world.get(db.scan().toArray(), 3_600_000)).length, 300);
    assert.equal((await world.get(reader.get(keyOf(7)), 60_000))?.length, VALUE.length);
    await world.get(db.collectGarbage(), 600_000);
    assert.deepEqual(said.size, 1, [...said].join());
    assert.equal(said.has("degraded"), false);
    check();
    await world.get(reader.close(), 60_000);
    world.store.controls.setLatency(10);
    await world.get(db.put(keyOf(300), VALUE), 10_000);
    assert.deepEqual(db.status.warnings, [], "one quick answer ends it");
    world.store.controls.setLatency(5000);
    await world.get(db.close(), 60_000);
    world.store.controls.quiet();
    assert.equal((await world.contents()).size, 301);
  });
});

describe("a store that answers by halves for minutes", () => {
  const lost: FaultRule = { rate: 0.7, fault: { kind: "after" } };
  const cases: ReadonlyArray<readonly [what: string, rules: FaultRule[], readsGoOn: boolean]> = [
    ["does what it is asked and loses seven of ten answers", [lost], true],
    [
      "reads and does not write",
      [{ op: ["put", "putIfAbsent", "delete", "upload", "uploadWrite"], rate: 1, fault: { kind: "before" } }],
      true,
    ],
    ["does not list", [{ op: "list", rate: 1, fault: { kind: "before" } }], true],
    [
      "cuts the bodies of ranges short",
      [{ op: ["getRange", "getRanges"], rate: 1, fault: { kind: "before", reason: "short-read" } }],
      false,
    ],
    ["never answers a third of its requests", [{ rate: 0.3, fault: { kind: "hang", when: "after" } }], true],
  ];
  for (const [what, rules, readsGoOn] of cases) {
    it(`${what}: nothing is lost, nothing is called damaged, close works`, async () => {
      const world = new OutageWorld(SMALL);
      const db = await filled(world, 200);
      const { check } = watch(db);
      const reader = await world.reader({ mode: "follow" });
      world.store.controls.addRules(...rules);
      const met = world.askers(db, 5, 200);
      const elsewhere = world.askers(reader, 5, 200);
      const written = world.puts(db, 200, 500);
      await world.pass(2 * MINUTE);
      assert.equal(met.values > 0 && elsewhere.values > 0, readsGoOn, `${met.values}, ${elsewhere.values} values`);
      assert.ok(Math.max(met.longestMillis, elsewhere.longestMillis) <= 11_000);
      await world.rest();
      assert.equal(reader.status.closeReason, undefined);
      check();
      world.store.controls.quiet();
      await world.get(written.all, 60_000);
      assert.deepEqual(written.answered, Array.from({ length: 300 }, (_, i) => 200 + i));
      await world.get(reader.refresh(), 60_000);
      await world.get(reader.close(), 60_000);
      // All that the compactor and the flushers left behind is collected in time, without anybody's help.
      await world.get(db.flush({ kind: "memtable" }), 60_000);
      for (let hour = 0; hour < 2; hour++) await world.clock.advance(3_600_000);
      assert.deepEqual(orphans(world), []);
      await recovers(world, db, 500);
    });
  }
});

describe("one of two stores that is down", () => {
  async function twoStores(): Promise<{ world: OutageWorld; db: Db; log: FaultyStore }> {
    const log = faultyStore(memoryStore());
    const world = new OutageWorld({ ...SMALL, wal: { store: log } });
    return { world, db: await filled(world, 100), log };
  }

  it("the WAL's: named; cold reads go on, durable writes wait, and are answered when it is back", async () => {
    const { world, db, log } = await twoStores();
    log.controls.setOutage(true);
    const written = world.puts(db, 100, 120);
    await world.pass(MINUTE);
    const { warnings, degraded } = db.status;
    assert.equal(degraded, true);
    assert.equal(warnings.filter((text) => text.includes("object store")).length, 1, warnings.join("; "));
    assert.match(warnings.at(-1)!, /^The WAL's object store has not taken a write since/);
    assert.equal((await world.get(db.get(keyOf(3)), 1000))?.length, VALUE.length, "the main store answers");
    assert.equal(written.answered.length, 0);
    log.controls.quiet();
    await world.get(written.all, 3000);
    assert.deepEqual([db.status.degraded, db.status.warnings], [false, []]);
    await recovers(world, db, 120);
  });

  it("the main one: named; durable writes go on for as long as memory does", async () => {
    const { world, db } = await twoStores();
    world.store.controls.setOutage(true);
    await world.get(world.puts(db, 100, 120).all, 5000);
    const written = world.puts(db, 120, 400);
    await world.pass(MINUTE);
    assert.ok(written.answered.length > 20 && written.answered.length < 280, `${written.answered.length} were durable`);
    assert.match(db.status.warnings.join(), /^The object store has not (taken a write|answered a read) since/);
    world.store.controls.quiet();
    await world.get(written.all, 20_000);
    assert.equal(db.status.degraded, false);
    await recovers(world, db, 400);
  });

  it("both: each is named, and each recovers by itself", async () => {
    const { world, db, log } = await twoStores();
    for (const { controls } of [world.store, log]) controls.setOutage(true);
    const written = world.puts(db, 100, 400);
    const named = () => db.status.warnings.map((text) => text.replace(/ has not .*/, ""));
    await world.pass(MINUTE);
    assert.deepEqual(named().sort(), ["The WAL's object store", "The object store"]);
    world.store.controls.quiet();
    await world.pass(5000);
    assert.deepEqual([named(), db.status.degraded], [["The WAL's object store"], true]);
    log.controls.quiet();
    await world.get(written.all, 20_000);
    assert.deepEqual([named(), db.status.degraded], [[], false]);
    await recovers(world, db, 400);
  });
});

describe("credentials that expire for five minutes", () => {
  it("calls answer permission at once, the writer waits and goes on, reader and compactor recover", async () => {
    const world = new OutageWorld(SMALL);
    const db = await filled(world, 200);
    const reader = await world.reader({ mode: "managed" });
    world.store.controls.setOutage(true, "permission");
    const written = world.puts(db, 200, 400);
    for (const reads of [db, reader]) {
      const outcome = await world.outcome(reads.get(keyOf(5)), MINUTE);
      assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable);
      assert.deepEqual([outcome.error.reason, outcome.afterMillis], ["permission", 0]);
      assert.match(outcome.error.message, /rights/);
    }
    const minutes = await world.minutes(5);
    assert.ok(minutes.every((count) => count <= 700), `requests per minute: ${minutes}`);
    assert.match(db.status.warnings.at(-1)!, /^The object store has not taken a write since .*: permission$/);
    assert.match(reader.status.trouble ?? "", /permission/);
    world.store.controls.quiet();
    await world.get(written.all, 5000);
    await world.get(reader.refresh());
    assert.equal(reader.status.trouble, undefined);
    assert.equal((await world.get(reader.get(keyOf(399))))?.length, VALUE.length);
    await world.get(reader.close());
    await recovers(world, db, 400);
  });
});

describe("close in an outage", () => {
  it("with everybody waiting answers typed within its deadline, and so is everybody answered", async () => {
    for (const hangs of [false, true]) {
      const world = new OutageWorld(SMALL);
      const db = await filled(world, 300);
      const reader = await world.reader({ mode: "managed" });
      if (hangs) world.store.controls.addRules({ rate: 1, fault: { kind: "hang", when: "before" } });
      else world.store.controls.setOutage(true);
      const outcomes: string[] = [];
      const note = (what: string, promise: Promise<unknown>) =>
        void promise.then(() => outcomes.push(`${what} ok`), (error: Error) => outcomes.push(`${what} ${error.name}`));
      for (let i = 0; i < 200; i++) note("put", db.put(keyOf(300 + i), VALUE));
      for (let i = 0; i < 50; i++) note("get", db.get(keyOf(i)));
      note("flush", db.flush({ kind: "memtable" }));
      note("compact", db.compact());
      note("collect", db.collectGarbage());
      note("refresh", reader.refresh());
      await world.pass(1000);
      const [closed, ended] = await Promise.all([
        world.outcome(db.close(), MINUTE),
        world.outcome(reader.close(), MINUTE),
      ]);
      for (const outcome of [closed, ended]) {
        assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable, JSON.stringify(outcome));
        assert.ok(outcome.afterMillis <= 10_100, `close took ${outcome.afterMillis} ms`);
      }
      await world.pass(MINUTE);
      assert.equal(outcomes.length, 254, "somebody still waits");
      assert.ok(outcomes.every((text) => / (Closed|Unavailable)$/.test(text)), [...new Set(outcomes)].join(", "));
      world.store.controls.quiet();
      await world.pass(MINUTE);
      const asked = world.store.controls.requestCount;
      await world.clock.advance(3_600_000);
      assert.equal(world.store.controls.requestCount, asked, "a closed database asks");
      assert.equal(world.clock.timers, 0);
      assert.ok((await world.contents()).size >= 300);
    }
  });
});
