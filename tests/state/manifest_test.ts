import { Effect } from "effect";
import { Closed } from "../../src/errors.ts";
import { SequenceTracker } from "../../src/format/sequence_tracker.ts";
import type { Manifest, SstView } from "../../src/format/types.ts";
import { claimWriterEpoch, emptyManifest, publishTables, recordWalId } from "../../src/state/manifest_edits.ts";
import { ManifestStore, type StoredManifest } from "../../src/state/manifest_store.ts";
import { assertSuccessor } from "../../src/state/manifest_invariants.ts";
import { ManifestHandle } from "../../src/state/manifest_handle.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { metered, type MeteredStore } from "../../src/store/metered_store.ts";
import { TestClock } from "effect/testing";
import { assert, describe, effectTest, it } from "../support/suite.ts";

function table(id: string): SstView {
  return {
    viewId: id,
    sstId: id,
    info: {
      firstEntry: new Uint8Array([97]),
      lastEntry: new Uint8Array([98]),
      indexOffset: 10,
      indexLen: 10,
      filterOffset: 10,
      filterLen: 0,
      compression: 0,
      sstType: 0,
      statsOffset: 0,
      statsLen: 0,
      filterFormat: 0,
    },
    visibleRange: undefined,
    formatVersion: 2,
  };
}

const ID = (n: number): string => `01ARZ3NDEKTSV4RRFFQ69G5F${String(n).padStart(2, "0")}`;
const published = (n: number, lastSeq: number) => ({
  view: table(ID(n)),
  lastSeq,
  lastTick: lastSeq * 10,
  tracker: new SequenceTracker(),
});
const publish = (tables: ReturnType<typeof published>[], boundary = 1) =>
  publishTables(tables, () => boundary, 9, (otherwise) => otherwise);

describe("publishTables", () => {
  it("M3 puts the newest table first and raises every number", () => {
    const next = publish([published(1, 5), published(2, 8)])(emptyManifest(false), 1)!;
    assert.deepEqual(next.l0.map((view) => view.sstId), [ID(2), ID(1)]);
    assert.deepEqual(
      [next.lastL0Seq, next.lastL0ClockTick, next.replayAfterWalId, next.walIdLastSeen, next.recentSnapshotMinSeq],
      [8, 80, 1, 9, 8],
    );
  });

  it("is idempotent, wherever compaction may have moved the table since", () => {
    const edit = publish([published(1, 5)]);
    const once = edit(emptyManifest(false), 1)!;
    assert.equal(edit(once, 2), undefined);
    assert.equal(edit({ ...once, l0: [] }, 2), undefined, "a compactor took the table out of L0");
  });

  it("adds only what a half-known result lacks", () => {
    const first = publish([published(1, 5)])(emptyManifest(false), 1)!;
    const both = publish([published(1, 5), published(2, 8)])(first, 1)!;
    assert.deepEqual(both.l0.map((view) => view.sstId), [ID(2), ID(1)]);
  });
});

describe("M1, M3, M4, M5 and M6 assertSuccessor", () => {
  const base = publish([published(1, 5)])(emptyManifest(false), 1)!;
  const cases: Array<{ name: string; id: string; next: Manifest }> = [
    { name: "a number that goes back", id: "M1", next: { ...base, lastL0Seq: 4 } },
    { name: "a lost L0 table", id: "M3", next: { ...base, l0: [] } },
    { name: "a table named twice", id: "M3", next: { ...base, l0: [...base.l0, ...base.l0] } },
    { name: "a changed run list", id: "M6", next: { ...base, compacted: [{ id: 1, ssts: [] }] } },
    {
      name: "a table without its first key",
      id: "M5",
      next: { ...base, l0: [{ ...table(ID(3)), info: { ...table(ID(3)).info, firstEntry: undefined } }, ...base.l0] },
    },
  ];
  for (const { name, id, next } of cases) {
    it(`${id} refuses ${name}`, () => {
      assert.throws(() => assertSuccessor(base, next, "writer"), new RegExp(`Invariant ${id}`));
    });
  }
});

describe("assertSuccessor of a compactor", () => {
  const base = publish([published(1, 5), published(2, 8)])(emptyManifest(false), 1)!;
  const run = (id: number) => ({ id, ssts: [table(ID(id + 10))] });
  it("allows it to take the oldest L0 tables and to change the runs", () => {
    assertSuccessor(base, { ...base, l0: base.l0.slice(0, 1), compacted: [run(0)] }, "compactor");
  });
  const cases: Array<{ name: string; id: string; next: Manifest }> = [
    { name: "runs out of order", id: "M4", next: { ...base, compacted: [run(0), run(1)] } },
    { name: "L0 without its newest table", id: "M3", next: { ...base, l0: base.l0.slice(1) } },
    { name: "a changed sequence number", id: "M6", next: { ...base, lastL0Seq: 9 } },
  ];
  for (const { name, id, next } of cases) {
    it(`${id} refuses ${name}`, () => {
      assert.throws(() => assertSuccessor(base, next, "compactor"), new RegExp(`Invariant ${id}`));
    });
  }
  it("M6 refuses an administrator who changes tables", () => {
    assert.throws(() => assertSuccessor(base, { ...base, compacted: [run(0)] }, "admin"), /Invariant M6/);
    assert.throws(() => assertSuccessor(base, { ...base, l0: [] }, "admin"), /Invariant M3/);
  });
});

const opened = (store: ReturnType<typeof memoryStore>) =>
  Effect.gen(function* () {
    const versions = new ManifestStore(store, "");
    const before = yield* versions.newest;
    const stored = yield* versions.createNext(before, claimWriterEpoch(before?.manifest ?? emptyManifest(false)));
    assert.notEqual(stored, "exists");
    return new ManifestHandle(versions, stored as StoredManifest, true);
  });

const requests = (store: MeteredStore) => {
  const counts = store.report().requests;
  return { list: counts["t"]?.["list"] ?? 0, get: counts["t"]?.["get"] ?? 0 };
};

describe("writer manifest", () => {
  effectTest(
    "F1 a writer whose epoch was passed can neither commit nor refresh, and writes nothing",
    () =>
      Effect.gen(function* () {
        const store = memoryStore();
        const old = yield* opened(store);
        yield* opened(store);
        const before = store.objects().length;
        const error = yield* Effect.flip(old.commit(recordWalId(7)));
        assert.ok(error instanceof Closed && error.reason === "fenced");
        assert.ok((yield* Effect.flip(old.refresh)) instanceof Closed);
        assert.equal(store.objects().length, before);
      }),
  );

  effectTest("commit redoes its edit on top of what others wrote", () =>
    Effect.gen(function* () {
      const store = memoryStore();
      const writer = yield* opened(store);
      const versions = new ManifestStore(store, "");
      const seen = (yield* versions.newest)!;
      const checkpoint = {
        id: "00000000-0000-4000-8000-000000000001",
        manifestId: seen.id + 1,
        expireTimeSeconds: 0,
        createTimeSeconds: 1,
        name: undefined,
        writerEpoch: undefined,
      };
      yield* versions.createNext(seen, { ...seen.manifest, checkpoints: [checkpoint] });
      const committed = yield* writer.commit(publish([published(1, 5)]));
      assert.equal(committed.manifest.checkpoints.length, 1);
      assert.equal(committed.manifest.l0.length, 1);
      assert.equal(committed.id, seen.id + 2);
    }));

  effectTest(
    "refresh probes the next id while the known version is fresh, and lists once it is not",
    () =>
      Effect.gen(function* () {
        const inner = memoryStore();
        const store = metered(inner, { component: "t" });
        const writer = yield* opened(store as unknown as ReturnType<typeof memoryStore>);
        const start = requests(store);
        yield* TestClock.adjust("29 seconds");
        yield* writer.refresh;
        assert.deepEqual(requests(store), { list: start.list, get: start.get + 1 });
        yield* TestClock.adjust("31 seconds");
        yield* writer.refresh;
        assert.equal(requests(store).list, start.list + 1);
      }),
  );

  effectTest(
    "K-38 a successor is found although the versions in between were collected",
    () =>
      Effect.gen(function* () {
        const store = memoryStore();
        const old = yield* opened(store);
        for (let i = 0; i < 6; i++) yield* opened(store);
        yield* TestClock.adjust("1 hour");
        for (const path of store.objects().filter((name) => !name.endsWith("7.manifest"))) yield* store.delete(path);
        const error = yield* Effect.flip(old.commit(recordWalId(7)));
        assert.ok(error instanceof Closed && error.reason === "fenced");
      }),
  );
});

describe("manifest store", () => {
  effectTest(
    "K-3 a create that took too long and finds a greater version does not count",
    () =>
      Effect.gen(function* () {
        const store = memoryStore();
        const versions = new ManifestStore(store, "");
        const first = (yield* versions.createNext(undefined, emptyManifest(false))) as StoredManifest;
        const slow = new ManifestStore({
          ...store,
          putIfAbsent: (path, body) =>
            Effect.gen(function* () {
              yield* TestClock.adjust("40 seconds");
              for (let id = 2; id <= 4; id++) {
                yield* store.put(versions.pathOf(id), body);
              }
              yield* store.delete(versions.pathOf(2));
              return yield* store.putIfAbsent(path, body);
            }),
        }, "");
        assert.equal(yield* slow.createNext(first, { ...first.manifest, walIdLastSeen: 1 }), "exists");
      }),
  );

  effectTest("newest skips foreign names and lists again when the version is gone", () =>
    Effect.gen(function* () {
      const store = memoryStore();
      const versions = new ManifestStore(store, "db");
      yield* versions.createNext(undefined, emptyManifest(false));
      yield* store.put("db/manifest/99999999999999999999.manifest", new Uint8Array(1));
      yield* store.put("db/manifest/notes.txt", new Uint8Array(1));
      yield* store.put("db/manifest/00000000000000000009.manifest.bak", new Uint8Array(1));
      assert.equal((yield* versions.newest)?.id, 1);
    }));
});
