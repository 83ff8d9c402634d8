import type { Manifest, SstView } from "../../src/format/types.ts";
import { FLAG_CREATE, NO_EXPIRY, RANGE_DELETES } from "../../src/format/types.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { RANGES_PER_MEMTABLE } from "../../src/lsm/memtable_limits.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import type { StoredManifest } from "../../src/state/manifest_store.ts";
import { ReaderPins, sameTables } from "../../src/state/reader_pins.ts";
import { ReaderState, RowsAfter } from "../../src/state/reader_state.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";

const AT = { wall: 0, monotonic: 0 };
const key = new TextEncoder().encode("k");

function insert(memtable: Memtable, seq: number): void {
  memtable.insert(key, 0, 1, seq, FLAG_CREATE, seq * 10, NO_EXPIRY, key, 0, 1);
}

function view(n: number): SstView {
  const sstId = ulidFromParts(n, new Uint8Array(10));
  const info = {
    firstEntry: key,
    lastEntry: key,
    indexOffset: 10,
    indexLen: 10,
    filterOffset: 10,
    filterLen: 0,
    compression: 0,
    sstType: 0,
    statsOffset: 0,
    statsLen: 0,
    filterFormat: 0,
  } as const;
  return { viewId: sstId, sstId, info, visibleRange: undefined, formatVersion: 2 };
}

function version(id: number, change: Partial<Manifest> = {}): StoredManifest {
  return { id, seenNewestAt: AT, manifest: { ...emptyManifest(false), ...change } };
}

function newState(
  first = version(1),
  maxMemtableBytes = 400,
): { state: ReaderState; tables: TableStore; time: { now: number } } {
  const time = { now: 0 };
  const tables = new TableStore({ store: memoryStore(), root: "", cache: new BlockCache({ blockBytes: 0 }) });
  const options = { maxMemtableBytes, holdIdleMillis: 1000, now: () => time.now };
  return { state: new ReaderState(tables, first, options), tables, time };
}

describe("ReaderState", () => {
  it("shows an object only when all of it is in, and begins memtables between objects", () => {
    const { state } = newState();
    const seen: number[] = [];
    state.onChange = ({ seq }) => seen.push(seq);
    insert(state.memtableFor(50), 1);
    assert.equal(state.capture.seq, 0);
    state.replayed(1, 1);
    const before = state.capture;
    const same = state.memtableFor(50);
    assert.equal(same, before.view.memtables[0]);
    insert(same, 2);
    assert.equal(state.capture, before);
    state.replayed(2, 2);
    const next = state.memtableFor(10_000);
    assert.notEqual(next, same);
    assert.equal(state.capture.view.memtables.length, 1, "not shown before its rows are in");
    insert(next, 3);
    state.replayed(3, 3);
    assert.deepEqual(state.capture.view.memtables, [next, same]);
    state.replayed(4, 0);
    assert.deepEqual([state.walId, state.capture.seq], [4, 3]);
    assert.deepEqual(seen, [1, 2, 3]);
    assert.deepEqual([before.seq, before.view.memtables.length], [1, 1]);
  });

  it("never goes back: neither its number, nor its place in the log, nor the time of its reads", () => {
    const { state } = newState(version(1, { lastL0Seq: 5, replayAfterWalId: 7, lastL0ClockTick: 100 }));
    assert.deepEqual([state.capture.seq, state.walId], [5, 7]);
    insert(state.memtableFor(10), 6);
    state.replayed(8, 6);
    state.adopt(version(2, { lastL0Seq: 5, replayAfterWalId: 7, l0: [view(1)] }), state.memtables);
    assert.deepEqual([state.capture.seq, state.walId], [6, 8]);
    state.observe(version(3, { lastL0Seq: 5, replayAfterWalId: 6, l0: [view(1)] }));
    assert.equal(state.walId, 8);
    assert.equal(state.readTime(10), 100);
    assert.equal(state.readTime(500), 500);
    assert.equal(state.readTime(400), 500);
    state.adopt(version(4, { lastL0Seq: 9, replayAfterWalId: 12, lastL0ClockTick: 900 }), []);
    assert.deepEqual([state.capture.seq, state.walId, state.readTime(0)], [9, 12, 900]);
    assert.equal(state.capture.view.memtables.length, 1);
  });

  it("keeps the tables and checkpoints of generations that are held, sixteen at most", () => {
    const { state, tables, time } = newState(version(1, { l0: [view(1)] }));
    const first = tables.table(view(1));
    state.pinnedBy("c1");
    const lasting = state.hold(state.capture, true);
    const scan = state.hold(state.capture, false);
    assert.deepEqual(state.heldCheckpoints, ["c1"]);
    state.adopt(version(2, { l0: [view(2)], lastL0Seq: 1 }), []);
    state.pinnedBy("c2");
    assert.equal(tables.table(view(1)), first, "held tables stay");
    assert.deepEqual(state.heldCheckpoints, ["c1"]);
    lasting.release();
    time.now = 900;
    scan.touch();
    time.now = 1800;
    assert.deepEqual(state.heldCheckpoints, ["c1"]);
    time.now = 2000;
    assert.deepEqual(state.heldCheckpoints, [], "a scan that nobody touches holds nothing");
    state.adopt(version(3, { l0: [view(3)], lastL0Seq: 2 }), []);
    assert.notEqual(tables.table(view(1)), first);
    for (let n = 4; n < 30; n++) {
      state.pinnedBy(`c${n}`);
      state.hold(state.capture, true);
      state.adopt(version(n, { l0: [view(n)], lastL0Seq: n }), []);
    }
    assert.equal(state.heldCheckpoints.length, 16);
    assert.equal(state.heldCheckpoints.at(-1), "c29");
  });

  it("RowsAfter copies the rows above a number in steps", () => {
    const source = new Memtable();
    for (let seq = 1; seq <= 100; seq++) insert(source, seq);
    const rows = new RowsAfter(source, 60);
    let steps = 1;
    while (!rows.step(7)) steps++;
    assert.equal(rows.copy.entryCount, 40);
    assert.deepEqual([rows.copy.firstSeq, rows.copy.lastSeq], [61, 100]);
    assert.ok(steps >= 14);
  });

  it("begins a memtable after as many range tombstones as a writer does", () => {
    const { state } = newState(version(1), 1e9);
    for (let seq = 1; seq <= RANGES_PER_MEMTABLE; seq++) {
      state.memtableFor(50).insertRange({ start: key, end: undefined, seq, createTs: 1 });
      state.replayed(seq, seq);
    }
    state.memtableFor(50);
    assert.deepEqual(state.memtables.map(({ ranges }) => ranges.count), [0, RANGES_PER_MEMTABLE]);
  });

  it("RowsAfter copies the range tombstones above a number, in steps as well", () => {
    const source = new Memtable();
    for (let seq = 1; seq <= 20; seq++) {
      source.insertRange({ start: Uint8Array.of(seq), end: Uint8Array.of(seq + 1), seq, createTs: 1 });
    }
    const rows = new RowsAfter(source, 12);
    let steps = 1;
    while (!rows.step(3)) steps++;
    assert.deepEqual(rows.copy.ranges.all().map(({ seq }) => seq).sort((a, b) => a - b), [
      13,
      14,
      15,
      16,
      17,
      18,
      19,
      20,
    ]);
    assert.deepEqual([rows.copy.firstSeq, rows.copy.lastSeq, steps], [13, 20, 3]);
  });
});

describe("ReaderPins", () => {
  const LIFETIME = 600_000;
  const mints = () => {
    let n = 0;
    return () => `id-${++n}`;
  };
  const asked = (now: number, shown?: Manifest, held: string[] = []) => ({ shown, held, nowMillis: now });
  const committed = (pins: ReaderPins, base: StoredManifest, request: ReturnType<typeof asked>): StoredManifest => {
    const next = pins.edit(request)(base.manifest, base.id);
    const stored = next === undefined ? base : { ...base, id: base.id + 1, manifest: next as Manifest };
    assert.equal(pins.settle(stored), true);
    return stored;
  };
  const ids = ({ manifest }: StoredManifest) => manifest.checkpoints.map(({ id }) => id);

  it("places, leaves alone, renews, replaces and removes", () => {
    const pins = new ReaderPins(mints(), LIFETIME);
    const one = committed(pins, version(4), asked(0));
    assert.deepEqual(one.manifest.checkpoints[0], {
      id: "id-1",
      manifestId: 5,
      expireTimeSeconds: 600,
      createTimeSeconds: 0,
      name: undefined,
      writerEpoch: undefined,
    });
    assert.equal(committed(pins, one, asked(299_999, one.manifest)), one, "half of the lifetime has not passed");
    const two = committed(pins, one, asked(300_000, one.manifest));
    assert.deepEqual(two.manifest.checkpoints.map((c) => [c.id, c.manifestId, c.expireTimeSeconds]), [[
      "id-1",
      5,
      900,
    ]]);
    const flushed = { ...two, id: 9, manifest: { ...two.manifest, lastL0Seq: 3 } };
    const three = committed(pins, flushed, asked(300_001, two.manifest));
    assert.deepEqual(ids(three), ["id-2"]);
    assert.equal(three.manifest.checkpoints[0]!.manifestId, 10);
    assert.equal(pins.current, "id-2");
    assert.deepEqual((pins.removal(three.manifest, 10) as Manifest).checkpoints, []);
    assert.equal(pins.removal(version(1).manifest, 1), undefined);
  });

  it("keeps and renews what is held, and takes it away with the next commit when it is not", () => {
    const pins = new ReaderPins(mints(), LIFETIME);
    const one = committed(pins, version(1), asked(0));
    const flushed = { ...one, manifest: { ...one.manifest, lastL0Seq: 3 } };
    const two = committed(pins, flushed, asked(200_000, one.manifest, ["id-1"]));
    assert.deepEqual(two.manifest.checkpoints.map((c) => [c.id, c.expireTimeSeconds]), [["id-1", 800], ["id-2", 800]]);
    assert.equal(committed(pins, two, asked(400_000, two.manifest)), two, "no commit for that alone");
    assert.deepEqual(ids(committed(pins, two, asked(500_000, two.manifest))), ["id-2"]);
  });

  it("replaces the checkpoint when the manifest's features change, and keeps no old one for the same tables", () => {
    const pins = new ReaderPins(mints(), LIFETIME);
    const one = committed(pins, version(1), asked(0));
    const gated = { ...one, manifest: { ...one.manifest, features: [RANGE_DELETES] } };
    const two = committed(pins, gated, asked(1, one.manifest, ["id-1"]));
    assert.deepEqual(two.manifest.checkpoints.map((c) => [c.id, c.manifestId]), [["id-2", two.id]]);
    assert.equal(committed(pins, two, asked(2, two.manifest, ["id-2"])), two, "once");
    const { features: _, ...lifted } = two.manifest;
    const three = committed(pins, { ...two, manifest: lifted }, asked(3, two.manifest, ["id-2"]));
    assert.deepEqual(ids(three), ["id-3"]);
  });

  it("leaves the checkpoints of others alone, and replaces its own when it lapsed or is gone", () => {
    const other = { ...version(1), manifest: { ...version(1).manifest } };
    const foreign = new ReaderPins(() => "other", LIFETIME);
    const base = committed(foreign, other, asked(0));
    const pins = new ReaderPins(mints(), LIFETIME);
    const one = committed(pins, base, asked(0));
    assert.deepEqual(ids(one), ["other", "id-1"]);
    const lapsed = committed(pins, one, asked(600_000, one.manifest));
    assert.deepEqual(ids(lapsed), ["other", "id-2"]);
    const gone = { ...lapsed, manifest: { ...lapsed.manifest, checkpoints: [] } };
    assert.deepEqual(ids(committed(pins, gone, asked(600_001, lapsed.manifest))), ["id-3"]);
  });

  it("does not trust a checkpoint whose commit's answer was lost, and takes it away", () => {
    const pins = new ReaderPins(mints(), LIFETIME);
    const lost = pins.edit(asked(0))(version(1).manifest, 1) as Manifest;
    const later = version(7, { ...lost, lastL0Seq: 9 });
    assert.equal(pins.edit(asked(1))(later.manifest, 7), undefined);
    assert.equal(pins.settle(later), false);
    const stored = committed(pins, later, asked(1));
    assert.deepEqual(stored.manifest.checkpoints.map((c) => [c.id, c.manifestId]), [["id-2", 8]]);
  });

  it("sameTables sees every change of the layout and nothing else", () => {
    const base = version(1, { l0: [view(2), view(1)], compacted: [{ id: 3, ssts: [view(9)] }] }).manifest;
    const others: ReadonlyArray<Partial<Manifest>> = [
      { lastL0Seq: 1 },
      { lastCompactedL0: view(1).viewId },
      { l0: [view(2)] },
      { l0: [view(1), view(2)] },
      { compacted: [] },
      { compacted: [{ id: 4, ssts: [view(9)] }] },
      { compacted: [{ id: 3, ssts: [view(8)] }] },
      { compacted: [{ id: 3, ssts: [view(9), view(10)] }] },
    ];
    for (const other of others) assert.equal(sameTables(base, { ...base, ...other }), false, JSON.stringify(other));
    assert.ok(sameTables(base, { ...base, walIdLastSeen: 5, writerEpoch: 2, compactorEpoch: 1 }));
  });
});
