import fc from "fast-check";
import { encodeEmptySst } from "../../src/format/sst_builder.ts";
import type { CheckpointRecord, CompactionRecord, Manifest, SstView, Ulid } from "../../src/format/types.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import { activeCompactions, type GcFacts, GcJudge, type Verdict } from "../../src/state/gc_rules.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import { ReachCache, reachOf } from "../../src/state/reachable.ts";
import { assert, describe, it } from "../support/suite.ts";

const NOW = 10_000_000;
const MIN_AGE = 300_000;
/** Born so that it is exactly as old as it must be. */
const OLD = NOW - MIN_AGE;
const FENCE_SIZE = encodeEmptySst().length;

const id = (millis: number, n = 0): Ulid => ulidFromParts(millis, new Uint8Array(10).fill(n));

function view(sstId: Ulid): SstView {
  const info = {
    firstEntry: new Uint8Array([97]),
    lastEntry: undefined,
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

function manifest(fields: Partial<Manifest> = {}): Manifest {
  return { ...emptyManifest(false), ...fields };
}

function pin(manifestId: number, expireTimeSeconds = 0): CheckpointRecord {
  return {
    id: "00000000-0000-4000-8000-000000000000",
    manifestId,
    expireTimeSeconds,
    createTimeSeconds: 0,
    name: undefined,
    writerEpoch: undefined,
  };
}

function judge(facts: Partial<GcFacts> = {}): GcJudge {
  return new GcJudge({
    minAgeMillis: MIN_AGE,
    walFenceMinAgeMillis: Infinity,
    nowMillis: NOW,
    manifestId: 9,
    manifest: manifest(),
    compactionsId: 9,
    active: [],
    pinned: new Map(),
    inFlight: undefined,
    ...facts,
  });
}

const meta = (lastModifiedMillis: number, size = 1000) => ({ path: "x", size, lastModifiedMillis });
const keep = (verdict: Verdict | "look") => typeof verdict === "string" ? verdict : verdict.keep;
const due = (verdict: Verdict | "look") => typeof verdict === "string" ? undefined : verdict.dueAt;

describe("GcJudge table", () => {
  const newest = view(id(NOW - 1000));
  const busy = manifest({ l0: [newest, view(id(OLD - 5))] });

  it("deletes what nothing names and is old by its id and by the store", () => {
    assert.equal(judge({ manifest: busy }).table(id(OLD), meta(OLD)), "delete");
  });

  it("keeps what L0 or a run of the newest manifest names", () => {
    const run = { id: 3, ssts: [view(id(OLD - 7))] };
    const rules = judge({ manifest: { ...busy, compacted: [run] } });
    for (const named of [newest.sstId, id(OLD - 5), id(OLD - 7)]) {
      assert.deepEqual(rules.table(named, meta(0)), { keep: "referenced", dueAt: Infinity });
    }
    assert.equal(rules.table(id(OLD - 6), meta(0)), "delete");
  });

  it("keeps what a pinned version names", () => {
    const pinned = new Map([[4, reachOf(manifest({ compacted: [{ id: 0, ssts: [view(id(5))] }] }))]]);
    const rules = judge({ manifest: { ...busy, checkpoints: [pin(4)] }, pinned });
    assert.deepEqual(rules.table(id(5), meta(0)), { keep: "checkpoint", dueAt: Infinity });
    assert.equal(rules.table(id(6), meta(0)), "delete");
  });

  it("keeps what is young by either clock, and says until when", () => {
    const rules = judge({ manifest: busy });
    assert.deepEqual(rules.table(id(OLD + 1), meta(0)), { keep: "young", dueAt: NOW + 1 });
    assert.deepEqual(rules.table(id(0), meta(OLD + 2)), { keep: "young", dueAt: NOW + 2 });
    assert.deepEqual(rules.table(id(OLD + 1), meta(OLD + 3)), { keep: "young", dueAt: NOW + 3 });
  });

  it("keeps what is not older than the oldest active compaction", () => {
    const active = [id(OLD - 50), id(OLD - 90)];
    const rules = judge({ manifest: busy, active });
    assert.equal(keep(rules.table(id(OLD - 90, 1), meta(0))), "active-compaction");
    assert.equal(due(rules.table(id(OLD - 90, 1), meta(0))), Infinity);
    assert.equal(rules.table(id(OLD - 91), meta(0)), "delete");
  });

  it("keeps what is not older than the L0 table published last: a writer elsewhere may be about to publish it", () => {
    // The newest by publication has an older id than the one below it: the writer before had a faster clock.
    const rules = judge({ manifest: manifest({ l0: [view(id(OLD - 40)), view(id(OLD - 10))] }) });
    assert.deepEqual(rules.table(id(OLD - 40, 1), meta(0)), { keep: "newest-l0", dueAt: Infinity });
    assert.equal(keep(rules.table(id(OLD - 20), meta(0))), "newest-l0");
    assert.equal(rules.table(id(OLD - 41), meta(0)), "delete");
  });

  it("goes by the last compacted table when L0 is empty; that one itself may go", () => {
    const marker = id(OLD - 40);
    const rules = judge({ manifest: manifest({ lastCompactedL0: marker }) });
    assert.equal(keep(rules.table(id(OLD - 40, 1), meta(0))), "newest-l0");
    assert.equal(rules.table(id(OLD - 41), meta(0)), "delete");
    assert.equal(rules.table(marker, meta(0)), "delete");
    assert.equal(keep(rules.table(marker, meta(OLD + 1))), "young");
  });

  it("deletes nothing when no table was ever published and the writer is elsewhere", () => {
    assert.deepEqual(judge().table(id(0), meta(0)), { keep: "no-l0", dueAt: Infinity });
  });

  it("goes by the uploads of its own writer instead, where it knows them", () => {
    const flying = id(OLD - 3);
    const rules = judge({ manifest: busy, inFlight: (one) => one === flying });
    assert.deepEqual(rules.table(flying, meta(0)), { keep: "in-flight", dueAt: Infinity });
    assert.equal(rules.table(id(OLD - 2), meta(0)), "delete");
    assert.equal(judge({ inFlight: () => false }).table(id(OLD), meta(0)), "delete", "no L0 rule");
  });
});

describe("GcJudge wal", () => {
  const replaying = manifest({ replayAfterWalId: 20, walIdLastSeen: 25 });

  it("deletes below the replay boundary only, the object at the boundary stays", () => {
    const rules = judge({ manifest: replaying });
    assert.equal(rules.wal(19, meta(OLD)), "delete");
    assert.deepEqual(rules.wal(20, meta(0)), { keep: "live", dueAt: Infinity });
    assert.equal(keep(rules.wal(21, meta(0))), "live");
  });

  it("keeps what is young by the store's clock", () => {
    assert.deepEqual(judge({ manifest: replaying }).wal(19, meta(OLD + 1)), { keep: "young", dueAt: NOW + 1 });
  });

  it("keeps what a replay from a pinned version reads: above its boundary, up to the last it knew", () => {
    const pinned = new Map([[4, reachOf(manifest({ replayAfterWalId: 5, walIdLastSeen: 8 }))]]);
    const rules = judge({ manifest: replaying, pinned });
    assert.deepEqual([5, 6, 8, 9].map((one) => keep(rules.wal(one, meta(0)))), [
      "delete",
      "checkpoint",
      "checkpoint",
      "delete",
    ]);
  });

  it("keeps fences: what is as small as one is, what may be one is looked into when it is old enough", () => {
    const rules = judge({ manifest: replaying });
    for (const size of [0, FENCE_SIZE]) {
      assert.deepEqual(rules.wal(19, meta(0, size)), { keep: "fence", dueAt: Infinity });
    }
    assert.equal(rules.wal(19, meta(OLD, FENCE_SIZE + 1)), "look");
    assert.equal(rules.wal(19, meta(OLD, 256)), "look");
    assert.equal(rules.wal(19, meta(OLD, 257)), "delete");
    assert.equal(keep(rules.wal(19, meta(OLD + 1, 200))), "young");
  });

  it("lets fences go at an age of their own, never below the common one", () => {
    const age = 400_000;
    const rules = judge({ manifest: replaying, walFenceMinAgeMillis: age });
    assert.equal(rules.fence(NOW - age), "delete");
    assert.deepEqual(rules.fence(NOW - age + 1), { keep: "fence", dueAt: NOW + 1 });
    assert.deepEqual(judge({ walFenceMinAgeMillis: 0 }).fence(OLD + 1), { keep: "fence", dueAt: NOW + 1 });
  });
});

describe("GcJudge versions", () => {
  it("keeps the newest two, the newest known and what is newer, pinned ones and young ones", () => {
    const rules = judge({ manifest: manifest({ checkpoints: [pin(3)] }) });
    assert.equal(rules.manifest(8, meta(OLD), false), "delete");
    assert.equal(keep(rules.manifest(8, meta(0), true)), "newest-two");
    assert.equal(keep(rules.manifest(9, meta(0), false)), "newest-two", "the listing may be ahead of what was read");
    assert.equal(keep(rules.manifest(10, meta(0), false)), "newest-two");
    assert.equal(keep(rules.manifest(3, meta(0), false)), "checkpoint");
    assert.deepEqual(rules.manifest(4, meta(OLD + 1), false), { keep: "young", dueAt: NOW + 1 });
  });

  it("judges compactions objects by the newest that was read, checkpoints do not matter", () => {
    const rules = judge({ manifest: manifest({ checkpoints: [pin(3)] }), compactionsId: 6 });
    assert.equal(rules.compactions(3, meta(OLD), false), "delete");
    assert.equal(keep(rules.compactions(5, meta(0), true)), "newest-two");
    assert.equal(keep(rules.compactions(6, meta(0), false)), "newest-two");
    assert.equal(keep(rules.compactions(5, meta(OLD + 1), false)), "young");
  });

  it("nextExpiry is the earliest end of a checkpoint that ends", () => {
    assert.equal(judge().nextExpiry, Infinity);
    assert.equal(
      judge({ manifest: manifest({ checkpoints: [pin(3), pin(4, 900), pin(5, 800)] }) }).nextExpiry,
      800_000,
    );
  });
});

describe("GcJudge", () => {
  it("an object that stays for its age goes at the time it says, or stays for another reason, and not before", () => {
    const millis = fc.integer({ min: NOW - 2 * MIN_AGE, max: NOW + MIN_AGE });
    const number = fc.integer({ min: 0, max: 12 });
    const facts = fc.record({
      l0: fc.array(millis, { maxLength: 3 }),
      pinnedTable: millis,
      active: fc.array(millis, { maxLength: 2 }),
      marker: fc.option(millis, { nil: undefined }),
      replayAfterWalId: number,
      pinnedWal: fc.tuple(number, number),
      isWriter: fc.boolean(),
      fenceAge: fc.constantFrom(Infinity, MIN_AGE / 2, 2 * MIN_AGE),
    });
    const one = fc.record({
      kind: fc.nat(3),
      at: millis,
      stored: millis,
      n: number,
      size: fc.constantFrom(0, 114, 5000),
    });
    const named = fc.tuple(facts, fc.array(one, { minLength: 1, maxLength: 8 }));
    fc.assert(
      fc.property(named, ([given, objects]) => {
        const pinned = manifest({
          l0: [view(id(given.pinnedTable))],
          replayAfterWalId: given.pinnedWal[0],
          walIdLastSeen: given.pinnedWal[1],
        });
        const at = (nowMillis: number) =>
          judge({
            nowMillis,
            walFenceMinAgeMillis: given.fenceAge,
            manifest: manifest({
              l0: given.l0.map((millis) => view(id(millis))),
              lastCompactedL0: given.marker === undefined ? undefined : id(given.marker),
              replayAfterWalId: given.replayAfterWalId,
              checkpoints: [pin(3)],
            }),
            active: given.active.map((millis) => id(millis)),
            pinned: new Map([[3, reachOf(pinned)]]),
            inFlight: given.isWriter ? () => false : undefined,
          });
        const verdictAt = (nowMillis: number, { kind, at: minted, stored, n, size }: (typeof objects)[number]) => {
          const rules = at(nowMillis);
          const object = meta(stored, size);
          if (kind === 0) return rules.table(id(minted), object);
          if (kind === 1) return rules.wal(n, object);
          return kind === 2 ? rules.manifest(n, object, n > 10) : rules.compactions(n, object, n > 10);
        };
        for (const object of objects) {
          const now = verdictAt(NOW, object);
          const { dueAt } = typeof now === "string" ? { dueAt: 0 } : now;
          if (dueAt === Infinity) assert.deepEqual(verdictAt(NOW + 1e9, object), now, "time does not matter");
          if (dueAt === 0 || dueAt === Infinity) continue;
          assert.ok(dueAt > NOW);
          assert.deepEqual(verdictAt(dueAt - 1, object), now);
          assert.equal(verdictAt(dueAt, object), "delete", "it says when it goes");
        }
      }),
      { numRuns: 500, seed: 20 },
    );
  });
});

describe("activeCompactions", () => {
  it("are those that were submitted or run: what has ended publishes nothing any more", () => {
    const record = (n: number, status: CompactionRecord["status"]): CompactionRecord => ({
      id: id(n),
      l0ViewIds: [],
      sortedRuns: [],
      status,
      outputSsts: [],
    });
    const recentCompactions = [
      record(1, "completed"),
      record(2, "submitted"),
      record(3, "failed"),
      record(4, "running"),
    ];
    assert.deepEqual(activeCompactions({ compactorEpoch: 1, recentCompactions }), [id(2), id(4)]);
    assert.deepEqual(activeCompactions(undefined), []);
  });
});

describe("ReachCache", () => {
  it("remembers within its bounds and forgets what no checkpoint names", () => {
    const cache = new ReachCache();
    for (let i = 1; i <= 300; i++) cache.add(i, reachOf(manifest({ l0: [view(id(i))] })));
    assert.equal(cache.size, 256);
    assert.equal(cache.get(257), undefined);
    cache.retain(new Set([2, 3, 999]));
    assert.deepEqual([cache.size, cache.get(2)?.tables.size, cache.get(4)], [2, 1, undefined]);
    const huge = {
      tables: new Set(Array.from({ length: 249_999 }, (_, i) => String(i))),
      replayAfterWalId: 0,
      walIdLastSeen: 0,
    };
    cache.add(10, huge);
    assert.equal(cache.get(10), undefined, "too many tables together");
    cache.retain(new Set());
    cache.add(10, huge);
    assert.equal(cache.get(10), huge);
  });
});
