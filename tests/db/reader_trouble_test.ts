import { Closed, DataError, InvalidArgument, Unavailable } from "../../mod.ts";
import { isExpired } from "../../src/state/checkpoint_edits.ts";
import { walPath } from "../../src/format/paths.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";

const POLL = 10_000;

describe("a reader in trouble", () => {
  for (const mode of ["managed", "follow"] as const) {
    it(`stays open while its store does not answer, tells so, and catches up, ${mode}`, async () => {
      const world = new ReaderWorld();
      const db = await world.open();
      await world.put(db, { a: "1" });
      const reader = await world.reader({ mode, requestTimeoutMillis: 5000 });
      world.readerStore.controls.setOutage(true);
      await world.put(db, { a: "2" });
      await world.clock.advance(120_000);
      assert.match(reader.status.trouble!, /unavailable/);
      assert.equal(reader.status.closeReason, undefined);
      assert.equal(await world.value(reader, "a"), "1");
      const refused = await world.error(reader.refresh(), 20_000);
      assert.ok(refused instanceof Unavailable, String(refused));
      world.readerStore.controls.setOutage(false);
      await world.clock.advance(2 * POLL);
      assert.equal(reader.status.trouble, undefined);
      assert.equal(await world.value(reader, "a"), "2");
      await world.get(reader.close());
      await world.get(db.close());
    });
  }

  it("tries again sooner than at the next poll, and later and later", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader({ manifestPollIntervalMillis: 60_000, requestTimeoutMillis: 1 });
    world.asked();
    world.readerStore.controls.setOutage(true);
    await world.clock.advance(60_100);
    const looks = async (millis: number) => {
      await world.clock.advance(millis);
      return world.asked().length;
    };
    world.asked();
    assert.ok(await looks(1500) >= 1);
    assert.equal(await looks(400), 0);
    assert.ok(await looks(200_000) < 20);
    await world.get(reader.close().catch(() => {}), 20_000);
    await world.get(db.close());
  });

  it("makes a new checkpoint when its own lapsed, and shows the newest state", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    const reader = await world.reader({ blockCacheBytes: 0 });
    const snapshot = await world.get(reader.snapshot());
    const first = reader.status.checkpointId;
    // The machine of the reader is suspended: nothing it asks for is answered.
    world.readerStore.controls.setOutage(true);
    await world.clock.advance(700_000);
    world.commit((manifest) => ({
      ...manifest,
      checkpoints: manifest.checkpoints.filter((one) => !isExpired(one, world.clock.now())),
    }));
    assert.equal(world.manifest.checkpoints.length, 0);
    await world.put(db, { a: "2" });
    await world.get(db.flush({ kind: "memtable" }));
    world.compact(true);
    world.readerStore.controls.setOutage(false);
    assert.equal(await world.value(reader, "a"), "2", "a missing table makes it look at once");
    const { checkpoints } = world.manifest;
    assert.equal(checkpoints.length, 1);
    assert.notEqual(checkpoints[0]!.id, first);
    assert.equal(checkpoints[0]!.id, reader.status.checkpointId);
    assert.equal(checkpoints[0]!.manifestId, world.manifestId);
    const error = await world.error(snapshot.get("a"));
    assert.ok(error instanceof DataError && error.reason === "view-expired", String(error));
    await world.get(reader.close());
    assert.deepEqual(world.manifest.checkpoints, []);
    await world.get(db.close());
  });

  it("does not renew a checkpoint that has ended, even if it still stands there", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    const reader = await world.reader();
    const first = reader.status.checkpointId;
    world.readerStore.controls.setOutage(true);
    await world.clock.advance(700_000);
    world.readerStore.controls.setOutage(false);
    await world.clock.advance(2 * POLL);
    assert.equal(world.manifest.checkpoints.length, 1);
    assert.notEqual(world.manifest.checkpoints[0]!.id, first);
    assert.equal(world.manifest.checkpoints[0]!.id, reader.status.checkpointId);
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("leaves no checkpoint behind when it cannot open for damage", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    const path = world.paths("wal").at(-1)!;
    const bytes = world.inner.peek(path)!;
    bytes[3]! ^= 1;
    world.inner.plant(path, bytes);
    const before = world.manifestId;
    const error = await world.error(world.opening());
    assert.ok(error instanceof DataError && error.object === path, String(error));
    assert.equal(world.manifestId, before + 2);
    assert.equal(world.manifest.checkpoints.length, 0);
    await world.get(db.close().catch(() => {}));
  });

  it("survives one damaged transfer, and closes with the error when the damage stays", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader({ mode: "follow" });
    await world.put(db, { a: "1" });
    const damage = { kind: "corrupt", offset: 3 } as const;
    world.readerStore.controls.addRules({ op: "get", prefix: "wal/", nth: 1, fault: damage });
    await world.clock.advance(POLL);
    assert.equal(await world.value(reader, "a"), "1");
    await world.get(db.flush({ kind: "memtable" }));
    world.readerStore.controls.addRules({ op: "get", prefix: "manifest/", nth: 1, fault: damage });
    await world.clock.advance(POLL);
    assert.match(reader.status.trouble!, /manifest/);
    await world.clock.advance(POLL);
    assert.equal(reader.status.trouble, undefined);
    await world.put(db, { a: "2" });
    const path = world.paths("wal").at(-1)!;
    const bytes = world.inner.peek(path)!;
    bytes[3]! ^= 1;
    world.inner.plant(path, bytes);
    await world.clock.advance(2 * POLL);
    assert.equal(reader.status.closeReason, "failed");
    const error = await world.error(reader.get("a")) as Closed;
    assert.ok(error instanceof Closed && error.cause instanceof DataError && error.cause.object === path);
    assert.ok(await world.error(reader.close()) instanceof Closed);
    await reader[Symbol.asyncDispose]();
    await world.get(db.close());
  });

  it("closes when the database is no longer a whole one", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader();
    const waiting = world.error(reader.waitForSeq(5), 60_000);
    world.commit((manifest) => ({ ...manifest, initialized: false }));
    await world.clock.advance(3 * POLL);
    const error = await waiting as Closed;
    assert.ok(error instanceof Closed && (error.cause as DataError).reason === "not-initialized");
    await world.get(db.close().catch(() => {}), 60_000);
  });
});

describe("a reader's refresh and waitForSeq", () => {
  it("refresh shows what was durable when it was called, also while another look is under way", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader();
    world.readerStore.controls.setLatency(100);
    const early = reader.refresh();
    await world.clock.advance(150);
    await world.put(db, { a: "1" });
    const late = [reader.refresh(), reader.refresh()];
    world.asked();
    assert.equal(await world.get(early), 0, "its look of the log was over");
    assert.deepEqual(await world.get(Promise.all(late)), [1, 1]);
    const looks = world.asked().filter((request) => request === `get ${walPath("", 2)}`);
    assert.equal(looks.length, 1, "both shared one look");
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("waitForSeq ends with the poll that shows the number", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader();
    await world.get(reader.waitForSeq(0));
    const outcome = world.outcome(reader.waitForSeq(2), 25_000);
    await world.put(db, { a: "1", b: "2" });
    assert.equal((await outcome).ended, "value");
    assert.equal(reader.status.seq, 2);
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("waitForSeq gives up in time, and refuses nonsense", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader();
    const outcome = await world.outcome(reader.waitForSeq(1, { timeoutMillis: 1000 }), 5000);
    assert.equal(outcome.ended, "error");
    if (outcome.ended === "error") {
      assert.ok(outcome.error instanceof Unavailable && outcome.error.reason === "timeout");
      assert.ok(outcome.afterMillis <= 1050);
    }
    const bad = [
      () => reader.waitForSeq(-1),
      () => reader.waitForSeq(1.5),
      () => reader.waitForSeq(1, { timeoutMillis: -1 }),
      () => reader.waitForSeq(1, { timeout: 1 } as never),
    ];
    for (const call of bad) assert.ok(await world.error(call()) instanceof InvalidArgument);
    await world.get(reader.close());
    await world.get(db.close());
  });
});

describe("a reader's close", () => {
  it("does not hang on a store that never answers, and says that the checkpoint stays for a while", async () => {
    for (const prefix of ["wal/", "manifest/"]) {
      const world = new ReaderWorld();
      const db = await world.open();
      await world.put(db, { a: "1" });
      const reader = await world.reader({ requestTimeoutMillis: 3000 });
      world.readerStore.controls.addRules({ rate: 1, fault: { kind: "hang", when: "before" } });
      await world.clock.advance(POLL);
      const waiting = world.error(reader.refresh(), 10_000);
      const outcome = await world.outcome(reader.close(), 10_000);
      assert.equal(outcome.ended, "error", prefix);
      if (outcome.ended === "error") {
        assert.ok(outcome.error instanceof Unavailable, String(outcome.error));
        assert.ok(outcome.afterMillis <= 3100);
      }
      assert.ok(await waiting instanceof Closed);
      assert.equal(world.manifest.checkpoints.length, 1);
      assert.ok(isExpired(world.manifest.checkpoints[0]!, world.clock.now() + 600_000));
      assert.equal(world.clock.timers, 0, "nothing goes on behind it");
      await world.get(db.close());
    }
  });

  it("answers who waits for a look that began for him", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader();
    world.readerStore.controls.addRules({
      op: "get",
      prefix: "wal/",
      rate: 1,
      fault: { kind: "hang", when: "before" },
    });
    const waiting = world.error(reader.refresh(), 5000);
    await world.clock.advance(100);
    await world.get(reader.close());
    assert.ok(await waiting instanceof Closed);
    await world.get(db.close());
  });

  it("ends at once when only a look hangs", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader();
    world.readerStore.controls.addRules({
      op: "get",
      prefix: "wal/",
      rate: 1,
      fault: { kind: "hang", when: "before" },
    });
    await world.clock.advance(POLL);
    const outcome = await world.outcome(reader.close(), 10_000);
    assert.deepEqual(outcome, { ended: "value", value: undefined, afterMillis: 0 });
    assert.deepEqual(world.manifest.checkpoints, []);
    await world.get(db.close());
  });
});

describe("a reader that crashes", () => {
  it("leaves at most a checkpoint that ends by itself, whatever request of its opening or of a poll it was at", async () => {
    const script = async (world: ReaderWorld): Promise<void> => {
      const writer = await world.open();
      await world.put(writer, { a: "1" });
      await world.get(writer.flush({ kind: "memtable" }));
      await world.put(writer, { a: "2" });
      const reader = await world.outcome(world.opening({ requestTimeoutMillis: 1000 }), 2000);
      if (reader.ended === "value") {
        await world.put(writer, { b: "1" });
        await world.get(writer.flush({ kind: "memtable" }));
        await world.put(writer, { c: "1" });
        await world.clock.advance(POLL);
        await world.clock.advance(310_000);
        await world.outcome(reader.value.close(), 2000);
      }
      await world.get(writer.close());
    };
    const sound = new ReaderWorld();
    await script(sound);
    const { requestCount } = sound.readerStore.controls;
    assert.deepEqual(sound.manifest.checkpoints, []);
    let left = 0;
    for (let index = 0; index < requestCount; index += index < 25 ? 1 : 3) {
      for (const when of ["before", "after"] as const) {
        const world = new ReaderWorld();
        world.readerStore.controls.crashAt = { index, when };
        await script(world);
        const { checkpoints } = world.manifest;
        assert.ok(checkpoints.length <= 1, `${checkpoints.length} left by a crash ${when} ${index}`);
        left += checkpoints.length;
        for (const one of checkpoints) assert.ok(isExpired(one, world.clock.now() + 601_000));
        const late = await world.contents();
        assert.equal(late.get("a"), "2");
        world.readerStore.controls.crashAt = undefined;
        world.readerStore.controls.revive();
        const reader = await world.reader();
        assert.equal(await world.value(reader, "a"), "2");
        await world.get(reader.close());
        assert.equal(world.manifest.checkpoints.length, checkpoints.length);
      }
    }
    assert.ok(left > 5);
  });

  it("removes a checkpoint whose commit's answer was lost", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    const lost = { op: "putIfAbsent", prefix: "manifest/", nth: 1, fault: { kind: "after" } } as const;
    world.readerStore.controls.addRules(lost);
    const reader = await world.reader();
    assert.equal(world.manifest.checkpoints.length, 1);
    await world.get(db.flush({ kind: "memtable" }));
    world.readerStore.controls.addRules({ ...lost, fault: { kind: "after", retryable: false } });
    await world.clock.advance(POLL);
    assert.match(reader.status.trouble!, /timeout/);
    assert.equal(world.manifest.checkpoints.length, 1, "the answer was lost, the commit was not");
    await world.put(db, { b: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    await world.clock.advance(POLL);
    assert.deepEqual(world.manifest.checkpoints.map(({ id }) => id), [reader.status.checkpointId]);
    assert.equal(world.manifest.checkpoints[0]!.manifestId, world.manifestId);
    world.readerStore.controls.addRules({ ...lost, fault: { kind: "after", retryable: false } });
    await world.put(db, { c: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    await world.clock.advance(POLL);
    await world.get(reader.close());
    assert.deepEqual(world.manifest.checkpoints, []);
    await world.get(db.close());
  });
});
