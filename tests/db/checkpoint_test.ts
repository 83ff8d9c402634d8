/**
 * Checkpoints of a writer and from outside, judged by what a database holds that ends at the pinned version; and times
 * of sequence numbers.
 *
 * @module
 */
import {
  Closed,
  createCheckpoint,
  DataError,
  deleteCheckpoint,
  InvalidArgument,
  listCheckpoints,
  refreshCheckpoint,
  seqAtTime,
  timeOfSeq,
  Unavailable,
} from "../../mod.ts";
import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, parseNumberedName } from "../../src/format/paths.ts";
import type { Manifest } from "../../src/format/types.ts";
import { assert, describe, it } from "../support/suite.ts";
import { contentsOf, START_MILLIS, World } from "./fault_world.ts";

const UNKNOWN = "00000000-0000-4000-8000-000000000000";

/** What the pinned version and the log up to the newest WAL id it knows hold. */
function pinned(world: World, manifestId: number): Promise<Map<string, string>> {
  const copy = world.inner.clone();
  const manifest = decodeManifest(copy.peek(manifestPath("", manifestId))!).manifest;
  for (const path of copy.objects()) {
    const id = parseNumberedName(path);
    const newer = path.startsWith("wal/") ? id! > manifest.walIdLastSeen : id !== undefined && id > manifestId;
    if (newer) copy.remove(path);
  }
  return contentsOf(copy, { flushIntervalMillis: null });
}

function reasonOf(error: unknown): string {
  assert.ok(error instanceof InvalidArgument, `not refused, but ${String(error)}`);
  return error.reason;
}

/** The location and options of a call from outside. */
const outside = (world: World) => [{ store: world.store, path: "" }, { clock: world.clock }] as const;

describe("db.checkpoint", () => {
  it("scope all holds every write accepted before, and none after", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    void db.put("b", "2", { durable: false });
    const checkpoint = await world.get(db.checkpoint());
    await world.get(db.put("c", "3"));
    await world.get(db.flush({ kind: "memtable" }));
    assert.deepEqual([...await pinned(world, checkpoint.manifestId)], [["a", "1"], ["b", "2"]]);
    assert.equal(world.manifest.lastL0Seq, 3);
    assert.deepEqual(checkpoint, {
      id: checkpoint.id,
      manifestId: checkpoint.manifestId,
      createdAt: START_MILLIS,
    });
    const record = decodeManifest(world.inner.peek(manifestPath("", checkpoint.manifestId))!).manifest;
    assert.deepEqual(record.checkpoints.map((one) => one.id), [checkpoint.id], "it pins the version that has it");
    await world.get(db.close());
  });

  it("scope durable holds every acknowledged write through the log, and makes no table", async () => {
    const world = new World();
    const db = await world.open();
    for (let i = 0; i < 5; i++) await world.get(db.put(`k${i}`, `${i}`));
    void db.put("soft", "only in memory", { durable: false });
    const before = world.store.controls.requestCount;
    const checkpoint = await world.get(db.checkpoint({ scope: "durable" }));
    assert.equal(world.store.controls.requestCount - before, 1, "one commit");
    assert.deepEqual([...(await pinned(world, checkpoint.manifestId)).keys()], ["k0", "k1", "k2", "k3", "k4"]);
    assert.equal(world.manifest.l0.length, 0);
    const { walIdLastSeen } = world.manifest;
    assert.deepEqual(world.paths("wal").map(parseNumberedName).at(-1), walIdLastSeen);
    await world.get(db.put("later", "x"));
    assert.equal((await pinned(world, checkpoint.manifestId)).has("later"), false);
    await world.get(db.close());
  });

  it("scope all with the WAL off holds what was only in memory", async () => {
    const world = new World({ wal: false });
    const db = await world.open();
    void db.put("a", "1", { durable: false });
    const first = await world.get(db.checkpoint({ scope: "durable" }));
    const second = await world.get(db.checkpoint());
    assert.equal((await pinned(world, first.manifestId)).size, 0);
    assert.deepEqual([...await pinned(world, second.manifestId)], [["a", "1"]]);
    await world.get(db.close());
  });

  it("a source passes on what it pins, whatever was written since", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    const source = await world.get(db.checkpoint({ lifetimeMillis: 5_000, name: "brief" }));
    await world.get(db.put("a", "2"));
    const copy = await world.get(db.checkpoint({ source: source.id.toUpperCase() }));
    assert.equal(copy.manifestId, source.manifestId);
    assert.deepEqual([...await pinned(world, copy.manifestId)], [["a", "1"]]);
    await world.clock.advance(5_000);
    for (const gone of [source.id, UNKNOWN]) {
      assert.equal(reasonOf(await world.error(db.checkpoint({ source: gone }))), "checkpoint-missing");
    }
    await world.get(db.close());
  });

  it("a checkpoint of somebody else is a source, and is refreshed and deleted, before this writer has heard of it", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    const [location, options] = outside(world);
    const others = [];
    for (let i = 0; i < 3; i++) others.push(await world.get(createCheckpoint(location, { ...options, name: `${i}` })));
    const copy = await world.get(db.checkpoint({ source: others[0]!.id }));
    assert.equal(copy.manifestId, others[0]!.manifestId);
    const more = await world.get(createCheckpoint(location, { ...options, lifetimeMillis: 1_000 }));
    await world.get(db.refreshCheckpoint(more.id, { lifetimeMillis: 9_000 }));
    const last = await world.get(createCheckpoint(location, options));
    await world.get(db.deleteCheckpoint(last.id));
    const names = (await world.get(db.checkpoints())).map((one) => one.name ?? one.id);
    assert.deepEqual(names, ["0", "1", "2", copy.id, more.id]);
    await world.get(db.close());
  });

  it("list, refresh and delete: by name, once more, and only what is alive", async () => {
    const world = new World();
    const db = await world.open();
    const one = await world.get(db.checkpoint({ lifetimeMillis: 1_500, name: "nightly" }));
    const two = await world.get(db.checkpoint());
    assert.equal(one.expiresAt, START_MILLIS + 2_000, "whole seconds, never too early");
    assert.deepEqual(await world.get(db.checkpoints()), [one, two]);
    assert.deepEqual(await world.get(db.checkpoints({ name: "nightly" })), [one]);
    assert.deepEqual(await world.get(db.checkpoints({ name: "" })), [two]);
    assert.deepEqual(await world.get(db.checkpoints({ name: "other" })), []);
    const longer = await world.get(db.refreshCheckpoint(one.id, { lifetimeMillis: 60_000 }));
    assert.deepEqual(longer, { ...one, expiresAt: START_MILLIS + 60_000 });
    const { expiresAt: _, ...endless } = one;
    assert.deepEqual(await world.get(db.refreshCheckpoint(one.id, { lifetimeMillis: null })), endless);
    await world.get(db.refreshCheckpoint(one.id, { lifetimeMillis: 1_000 }));
    await world.clock.advance(1_000);
    assert.equal((await world.get(db.checkpoints({ name: "nightly" }))).length, 1, "ended, and not yet collected");
    assert.equal(
      reasonOf(await world.error(db.refreshCheckpoint(one.id, { lifetimeMillis: null }))),
      "checkpoint-missing",
    );
    await world.get(db.deleteCheckpoint(one.id));
    await world.get(db.deleteCheckpoint(one.id));
    assert.equal(
      reasonOf(await world.error(db.refreshCheckpoint(one.id, { lifetimeMillis: null }))),
      "checkpoint-missing",
    );
    assert.deepEqual(await world.get(db.checkpoints()), [two]);
    await world.get(db.close());
  });

  it("bad options are refused before anything is flushed or asked", async () => {
    const world = new World();
    const db = await world.open();
    void db.put("a", "1", { durable: false });
    const before = world.store.controls.requestCount;
    const bad: ReadonlyArray<Record<string, unknown>> = [
      { lifetime: 5 },
      { scope: "some" },
      { lifetimeMillis: 999 },
      { lifetimeMillis: Number.NaN },
      { lifetimeMillis: Infinity },
      { lifetimeMillis: "1000" },
      { lifetimeMillis: 1e15 },
      { lifetimeMillis: 0xffffffff * 1000 },
      { name: 7 },
      { name: "" },
      { name: "\ud800" },
      { source: "abc" },
    ];
    for (const options of bad) {
      const error = await world.error(db.checkpoint({ scope: "durable", ...options } as never));
      assert.equal(reasonOf(error), "options", JSON.stringify(options));
    }
    const calls = [
      () => db.checkpoints({ nam: "x" } as never),
      () => db.checkpoints({ name: 1 } as never),
      () => db.refreshCheckpoint("x", { lifetimeMillis: null }),
      () => db.refreshCheckpoint(UNKNOWN, {} as never),
      () => db.refreshCheckpoint(UNKNOWN, { lifetimeMillis: 1 }),
      () => db.refreshCheckpoint(UNKNOWN, undefined as never),
      () => db.deleteCheckpoint(undefined as never),
      () => db.timeOfSeq(-1, "up"),
      () => db.timeOfSeq(1, "middle" as never),
      () => db.seqAtTime(Number.NaN, "up"),
    ];
    for (const call of calls) assert.equal(reasonOf(await world.error(call())), "options", String(call));
    assert.equal(world.store.controls.requestCount, before);
    await world.get(db.close());
    for (const call of [() => db.checkpoint(), () => db.checkpoints(), () => db.deleteCheckpoint(UNKNOWN)]) {
      assert.ok(await world.error(call()) instanceof Closed);
    }
  });

  it("a writer that learns from its checkpoint that it was superseded closes", async () => {
    const world = new World();
    const db = await world.open();
    const next = await world.open();
    const error = await world.error(db.checkpoint({ scope: "durable" }));
    assert.ok(error instanceof Closed && error.reason === "fenced");
    assert.equal(db.status.closeReason, "fenced");
    await world.get(next.close());
  });

  it("the answer of a commit lost makes one checkpoint, not two", async () => {
    for (const putIds of [true, false]) {
      const world = new World({}, undefined, putIds);
      const db = await world.open();
      world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", nth: 1, fault: { kind: "after" } });
      const checkpoint = await world.get(db.checkpoint({ scope: "durable" }));
      assert.equal(world.store.controls.struck()["after"], 1);
      assert.deepEqual((await world.get(db.checkpoints())).map((one) => one.id), [checkpoint.id]);
      await world.get(db.close());
    }
  });
});

describe("checkpoints from outside", () => {
  it("pin the stored manifest beside a live writer, and fence nobody", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.put("b", "only in the log"));
    const [location, options] = outside(world);
    const before = world.manifest;
    const made = await world.get(createCheckpoint(location, { ...options, lifetimeMillis: 2_000, name: "backup" }));
    const { checkpoints: _, ...rest } = world.manifest;
    const { checkpoints: __, ...restBefore } = before;
    assert.deepEqual(rest, restBefore, "nothing else has changed");
    assert.deepEqual([...await pinned(world, made.manifestId)].slice(0, 1), [["a", "1"]]);
    assert.deepEqual(await world.get(listCheckpoints(location, { ...options, name: "backup" })), [made]);
    await world.get(db.put("c", "3"));
    await world.get(db.flush({ kind: "memtable" }));
    assert.deepEqual(await world.get(listCheckpoints(location, options)), [made], "our commit kept it");
    for (const none of [options, undefined]) {
      const refused = await world.error(refreshCheckpoint(location, made.id, none as never));
      assert.match(String(refused), /"lifetimeMillis".*null for one that does not end/);
    }
    const longer = await world.get(refreshCheckpoint(location, made.id, { ...options, lifetimeMillis: 60_000 }));
    assert.ok(longer.expiresAt! > made.expiresAt!);
    await world.get(deleteCheckpoint(location, made.id, options));
    await world.get(deleteCheckpoint(location, made.id, options));
    assert.deepEqual(await world.get(listCheckpoints(location, options)), []);
    assert.equal(
      reasonOf(await world.error(refreshCheckpoint(location, made.id, { ...options, lifetimeMillis: null }))),
      "checkpoint-missing",
    );
    await world.get(db.put("d", "4"));
    await world.get(db.close());
  });

  it("after a clean close hold everything, the log too", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "only in the log"));
    await world.get(db.close());
    const [location, options] = outside(world);
    const made = await world.get(createCheckpoint(location, options));
    assert.deepEqual([...await pinned(world, made.manifestId)], [["a", "only in the log"]]);
  });

  it("are refused where there is no database, or only part of one", async () => {
    const world = new World();
    const [location, options] = outside(world);
    assert.equal(reasonOf(await world.error(createCheckpoint(location, options))), "missing-database");
    assert.equal(reasonOf(await world.error(createCheckpoint(location, { ...options, scope: "all" }))), "options");
    assert.equal(reasonOf(await world.error(listCheckpoints(location, { ...options, namme: "" } as never))), "options");
    assert.equal(reasonOf(await world.error(listCheckpoints("memory:"))), "missing-database");
    assert.equal(
      reasonOf(await world.error(listCheckpoints(location, { ...options, requestTimeoutMillis: 0 }))),
      "options",
    );
    await world.get((await world.open()).close());
    const path = manifestPath("", 1);
    const part: Manifest = { ...decodeManifest(world.inner.peek(path)!).manifest, initialized: false };
    world.inner.plant(manifestPath("", 9), encodeManifest(part));
    const error = await world.error(createCheckpoint(location, options));
    assert.ok(error instanceof DataError && error.reason === "not-initialized");
  });

  it("end with a deadline when the store does not answer", async () => {
    const world = new World();
    await world.get((await world.open()).close());
    world.store.controls.setOutage(true);
    const [location, options] = outside(world);
    const outcome = await world.outcome(listCheckpoints(location, { ...options, requestTimeoutMillis: 5_000 }), 20_000);
    assert.ok(outcome.ended === "error" && outcome.error instanceof Unavailable && outcome.afterMillis <= 6_000);
    world.store.controls.setOutage(false);
    world.store.controls.setLatency(3_000);
    const slow = await world.outcome(listCheckpoints(location, { ...options, requestTimeoutMillis: 5_000 }), 20_000);
    assert.ok(slow.ended === "error" && slow.error instanceof Unavailable, "two slow requests are one slow call");
    assert.equal(slow.afterMillis, 5_000);
  });
});

describe("times of sequence numbers", () => {
  it("timeOfSeq and seqAtTime answer the nearest sample, from tables and from memory", async () => {
    const world = new World();
    const db = await world.open();
    for (let i = 1; i <= 6; i++) {
      await world.get(db.put("k", `${i}`));
      await world.get(db.put("k", `again ${i}`));
      if (i === 2) await world.get(db.flush({ kind: "memtable" }));
      if (i === 4) await world.get(db.flush({ kind: "memtable" }));
      await world.clock.advance(100_000);
    }
    const times: Array<number | undefined> = [];
    for (const [seq, round] of [[1, "up"], [4, "down"], [4, "up"], [11, "down"], [12, "up"], [0, "down"]] as const) {
      times.push(await world.get(db.timeOfSeq(seq, round)));
    }
    const at = (n: number) => Math.floor((START_MILLIS + (n - 1) * 100_000) / 1000) * 1000;
    const near = (found: number | undefined, expected: number) =>
      assert.ok(found !== undefined && Math.abs(found - expected) < 5_000, `${found}, not about ${expected}`);
    near(times[0], at(1));
    near(times[1], at(2));
    near(times[2], at(3));
    near(times[3], at(6));
    assert.deepEqual(times.slice(4), [undefined, undefined]);
    assert.equal(await world.get(db.seqAtTime(at(3) + 50_000, "down")), 5);
    assert.equal(await world.get(db.seqAtTime(at(3) + 50_000, "up")), 7);
    assert.equal(await world.get(db.seqAtTime(at(6) + 50_000, "up")), undefined);
    assert.equal(await world.get(db.seqAtTime(0, "down")), undefined);
    const [location, options] = outside(world);
    near(await world.get(timeOfSeq(location, 6, "up", options)), at(4));
    assert.equal(await world.get(timeOfSeq(location, 11, "up", options)), undefined, "not in a table yet");
    assert.equal(await world.get(seqAtTime(location, at(9), "down", options)), 7);
    await world.get(db.close());
    const again = await world.open();
    near(await world.get(again.timeOfSeq(11, "down")), at(6));
    await world.get(again.close());
  });

  it("samples of writes that were never published are left out", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.close());
    const newest = world.paths("manifest").at(-1)!;
    const manifest = decodeManifest(world.inner.peek(newest)!).manifest;
    world.inner.plant(newest, encodeManifest({ ...manifest, lastL0Seq: 0, l0: [] }));
    const [location, options] = outside(world);
    assert.equal(await world.get(timeOfSeq(location, 1, "down", options)), undefined);
  });
});
