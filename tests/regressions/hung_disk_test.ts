/**
 * A disk that stops answering in the middle of a call, as a network file system does: deadlines and aborts still hold.
 *
 * The database is made in memory; then every request goes to a file store over a disk whose calls never return. The
 * clock of these tests does not count real I/O: it would wait for that disk, too.
 *
 * @module
 */
import type { Clock, Scheduler } from "effect";
import { open, Unavailable } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { type VirtualClock, virtualClock } from "../../src/env/virtual_clock.ts";
import type { FileSystem } from "../../src/store/file/file_system.ts";
import { fileStore } from "../../src/store/file_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";

const REQUEST_TIMEOUT_MILLIS = 300;

const never = (): Promise<never> => new Promise(() => {});
const hungDisk: FileSystem = {
  open: never,
  link: never,
  rename: never,
  unlink: never,
  mkdir: never,
  readdir: never,
  lstat: never,
  copyFile: never,
  processId: 1,
  isProcessAlive: () => true,
};

/** `before` until `hasMoved`, then `after`. */
function movingStore(before: ObjectStoreShape, after: ObjectStoreShape, hasMoved: () => boolean): ObjectStoreShape {
  const store = () => hasMoved() ? after : before;
  return {
    get: (path) => store().get(path),
    getRange: (path, range) => store().getRange(path, range),
    getRanges: (path, ranges) => store().getRanges(path, ranges),
    head: (path) => store().head(path),
    put: (path, body) => store().put(path, body),
    putIfAbsent: (path, body, identity) => store().putIfAbsent(path, body, identity),
    list: (prefix, startAfter) => store().list(prefix, startAfter),
    delete: (path) => store().delete(path),
    copy: (source, target) => store().copy(source, target),
    upload: (path) => store().upload(path),
  };
}

/** The same time, without the count of real I/O. */
function withoutIoCount(clock: VirtualClock): Clock.Clock & { readonly scheduler: Scheduler.Scheduler } {
  return {
    currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    currentTimeMillis: clock.currentTimeMillis,
    currentTimeNanos: clock.currentTimeNanos,
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) => clock.sleep(duration),
    scheduler: clock.scheduler,
  };
}

/** A database with "a" in a table, nothing of it cached, and the switch that hangs its disk. */
async function world() {
  const clock = virtualClock(1_000);
  let hung = false;
  const disk = fileStore("/hung", { fileSystem: hungDisk });
  const db = await open({ store: movingStore(memoryStore(), disk, () => hung), path: "" }, {
    clock: withoutIoCount(clock),
    requestTimeoutMillis: REQUEST_TIMEOUT_MILLIS,
    blockCacheBytes: 0,
    flushIntervalMillis: null,
  });
  await db.put("a", "1");
  await db.flush({ kind: "memtable" });
  const hang = () => {
    hung = true;
  };
  return { clock, db, hang };
}

/** The error that `call` ends with within so much virtual time; fails when it does not. */
async function errorWithin(clock: VirtualClock, millis: number, call: Promise<unknown>): Promise<unknown> {
  let outcome = "still waits";
  let error: unknown;
  call.then(() => outcome = "succeeded", (cause) => {
    outcome = "failed";
    error = cause;
  });
  await clock.advance(millis);
  assert.equal(outcome, "failed");
  return error;
}

describe("a disk that hangs", () => {
  const reads: Array<[string, (db: Db) => Promise<unknown>]> = [
    ["get", (db) => db.get("a")],
    ["getMany", (db) => db.getMany(["a", "b"])],
    ["scan", (db) => db.scan().toArray()],
  ];
  for (const [name, read] of reads) {
    it(`does not hold ${name} beyond its deadline`, async () => {
      const { clock, db, hang } = await world();
      hang();
      const error = await errorWithin(clock, REQUEST_TIMEOUT_MILLIS + 1_100, read(db));
      assert.ok(error instanceof Unavailable, String(error));
    });
  }

  it("does not hold close beyond its deadline", async () => {
    const { clock, db, hang } = await world();
    await db.put("b", "1");
    hang();
    const error = await errorWithin(clock, 4 * REQUEST_TIMEOUT_MILLIS, db.close());
    assert.ok(error instanceof Unavailable, String(error));
  });

  it("does not hold a read that its caller aborts", async () => {
    const { clock, db, hang } = await world();
    hang();
    const controller = new AbortController();
    const scan = db.scan({}, { signal: controller.signal }).toArray();
    scan.catch(() => {});
    await clock.advance(100);
    const stop = new Error("stop");
    controller.abort(stop);
    assert.equal(await errorWithin(clock, 0, scan), stop);
  });
});
