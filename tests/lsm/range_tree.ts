/**
 * A tree of tiny tables with range tombstones, that is flushed and compacted in memory by the engine's own parts, and a
 * model of everything that was ever written to it.
 *
 * @module
 */
import { Effect } from "effect";
import { joinChunks } from "../../src/bytes/chunks.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import { tablePath } from "../../src/format/paths.ts";
import {
  type BoundRange,
  type Manifest,
  NO_TICK,
  RANGE_DELETES,
  RANGE_FORMAT,
  type RangeTombstone,
  type SstView,
  type Ulid,
} from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import type { CompactionPlan, CompactionSpec } from "../../src/lsm/compaction_job.ts";
import { planCompaction } from "../../src/lsm/compaction_plan.ts";
import { applyCompaction, manualL0, manualRuns, validateSpec } from "../../src/lsm/compaction_rules.ts";
import { successor } from "../../src/lsm/key_range.ts";
import { leveled } from "../../src/lsm/leveled.ts";
import { fetchLookup } from "../../src/lsm/lookup.ts";
import { buildLevels } from "../../src/lsm/lsm_view.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { fetchRanges } from "../../src/lsm/passing_ranges.ts";
import { clippedTo } from "../../src/lsm/range_retention.ts";
import { sizeTiered } from "../../src/lsm/size_tiered.ts";
import { KnownTables } from "../../src/lsm/table_facts.ts";
import { reaches, spanOf, spansOfRun, spansOverlap } from "../../src/lsm/table_span.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { TableWriter } from "../../src/lsm/table_writer.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import { assertManifest, assertSuccessor } from "../../src/state/manifest_invariants.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { type CompactionOutput, runCompaction } from "../../tasks/compaction_worker.ts";
import { TableDrops } from "../../tasks/table_drops.ts";
import { assert } from "../support/suite.ts";
import { concat, type Dice, makeRows, modelGet, type ModelRow, show } from "./read_world.ts";

const encoder = new TextEncoder();
const ROOT = "db";
/** All keys that rows have; tombstones begin and end at them. */
export const KEYS: ReadonlyArray<Uint8Array> = [..."abcdefghijkl"].map((letter) => encoder.encode(letter));
const ENCODING = { blockSizeBytes: 64, compression: 0, minFilterKeys: 0, filterBitsPerKey: 10 } as const;

/** A plan under way. */
export interface TreeJob {
  readonly plan: CompactionPlan;
  readonly outputs: ReadonlyArray<ReadonlyArray<CompactionOutput>>;
}

/** A tree and its model. */
export class RangeTree {
  readonly store: MemoryStore = memoryStore();
  readonly tables: TableStore;
  readonly dice: Dice;
  rows: ModelRow[] = [];
  ranges: RangeTombstone[] = [];
  readonly known: KnownTables = new KnownTables();
  readonly drops: TableDrops;
  readonly maxSstBytes: number;
  manifest: Manifest = { ...emptyManifest(false), features: [RANGE_DELETES] };
  lastSeq = 0;
  /** Tables that went unread. */
  dropped = 0;
  #ids = 0;

  constructor(dice: Dice, maxSstBytes: number = dice.pick([1, 150, 400, 1 << 20])) {
    this.dice = dice;
    this.maxSstBytes = maxSstBytes;
    this.tables = new TableStore({ store: this.store, root: ROOT, cache: new BlockCache({ blockBytes: 1 << 20 }) });
    this.drops = new TableDrops(this.store, this.tables);
  }

  #mint(): Ulid {
    return String(++this.#ids).padStart(26, "0");
  }

  /** Writes some batches and flushes them; the oldest protected number may go up. */
  flush(): void {
    const { dice } = this;
    const seqs = 1 + dice.roll(4);
    const rows = dice.chance(15)
      ? []
      : makeRows(dice, KEYS, seqs, true).map((row) => ({ ...row, seq: row.seq + this.lastSeq }));
    const ranges = Array.from({ length: dice.chance(60) ? 1 + dice.roll(3) : 0 }, () => this.#range(seqs));
    this.put(rows, ranges);
  }

  #range(seqs: number): RangeTombstone {
    const { dice } = this;
    const [a, b] = [dice.roll(KEYS.length), dice.roll(KEYS.length)].sort((x, y) => x - y) as [number, number];
    const start = dice.chance(15) ? new Uint8Array(0) : KEYS[a]!;
    const end = dice.chance(15) ? undefined : a === b ? Uint8Array.of(...KEYS[b]!, 0) : KEYS[b]!;
    return { start, end, seq: this.lastSeq + 1 + dice.roll(seqs), createTs: 1000 };
  }

  /**
   * Flushes these rows and tombstones as one table.
   *
   * @param protectedFrom the oldest number that stays protected, if it is not below that of before
   */
  put(rows: ReadonlyArray<ModelRow>, ranges: ReadonlyArray<RangeTombstone>, protectedFrom?: number): void {
    const { dice } = this;
    const memtable = new Memtable();
    for (const tombstone of ranges) memtable.insertRange(tombstone);
    for (const { key, seq, flags, createTs, expireTs, value } of rows) {
      memtable.insert(key, 0, key.length, seq, flags, createTs, expireTs, value, 0, value.length);
    }
    this.rows.push(...rows);
    this.ranges.push(...ranges);
    this.lastSeq = Math.max(this.lastSeq, memtable.lastSeq);
    const before = this.manifest;
    const tick = Math.max(before.lastL0ClockTick, dice.chance(30) ? 1200 + dice.roll(400) : NO_TICK);
    const wanted = protectedFrom ?? this.lastSeq - (dice.chance(60) ? 0 : dice.roll(12));
    const minSeq = Math.max(before.recentSnapshotMinSeq, wanted);
    const writer = new TableWriter(
      memtable.cursor(),
      ENCODING,
      { minSeq, tick, dropTombstones: false, merge: concat },
      0,
      memtable.ranges.all(),
    );
    while (writer.step(3));
    const built = writer.finish();
    this.manifest = { ...before, lastL0ClockTick: tick, recentSnapshotMinSeq: minSeq, lastL0Seq: this.lastSeq };
    if (built === undefined) return;
    const id = this.#mint();
    this.store.plant(tablePath(ROOT, id), joinChunks(built.chunks));
    this.known.note(id, built.isPlain);
    const formatVersion = built.info.rangeDeletes === undefined ? 2 : RANGE_FORMAT;
    const view: SstView = { viewId: id, sstId: id, info: built.info, visibleRange: undefined, formatVersion };
    this.manifest = { ...this.manifest, l0: [view, ...this.manifest.l0] };
  }

  /** Lets only keys of a range exist from now on, as a clone of a part does. */
  clip(): void {
    const { dice } = this;
    const [low, high] = [dice.pick(KEYS), dice.pick(KEYS)].sort(compareBytes) as [Uint8Array, Uint8Array];
    const start = { key: dice.chance(30) ? undefined : low, inclusive: dice.chance(70) };
    const end = { key: dice.chance(30) ? undefined : high, inclusive: dice.chance(50) };
    this.show({ start, end });
  }

  /** Lets only keys of `visibleRange` exist from now on. */
  show(visibleRange: BoundRange): void {
    const narrowed = (view: SstView): SstView => {
      // One range after another would have to be intersected.
      return view.visibleRange === undefined ? { ...view, visibleRange } : view;
    };
    const { l0, compacted } = this.manifest;
    if ([...l0, ...compacted.flatMap((run) => run.ssts)].some((view) => view.visibleRange !== undefined)) return;
    this.manifest = {
      ...this.manifest,
      l0: l0.map(narrowed),
      compacted: compacted.map(({ id, ssts }) => ({ id, ssts: ssts.map(narrowed) })),
    };
    const { start, end } = visibleRange;
    const lower = start.key === undefined || start.inclusive ? start.key : successor(start.key);
    const upper = end.key === undefined || !end.inclusive ? end.key : successor(end.key);
    const isIn = (key: Uint8Array): boolean =>
      (lower === undefined || compareBytes(lower, key) <= 0) && (upper === undefined || compareBytes(key, upper) < 0);
    this.rows = this.rows.filter(({ key }) => isIn(key));
    this.ranges = this.ranges.map((one) => clippedTo(one, lower, upper)).filter((one) => one !== undefined);
  }

  get limits() {
    return { maxSstBytes: this.maxSstBytes, maxConcurrent: 4 };
  }

  /** A job that some scheduler or a caller would begin now beside those of `active`. */
  pick(active: ReadonlyArray<CompactionSpec>): CompactionSpec | undefined {
    const { dice, manifest } = this;
    const schedulers = [
      sizeTiered({ minCompactionSources: 2, maxCompactionSources: 3, includeSizeThreshold: 8 }),
      leveled({ minL0Sources: 1, baseBytes: 300, multiplier: 2 }),
    ];
    const range = dice.chance(50) ? undefined : { lower: dice.pick(KEYS) };
    const floor = active.reduce((max, spec) => Math.max(max, spec.destination), -1);
    const specs = [
      ...schedulers.flatMap((scheduler) => scheduler.propose(manifest, active, this.limits)),
      manualL0(manifest, floor),
      manualRuns(manifest, range),
      ...Effect.runSync(this.drops.find(manifest)),
    ].filter((spec) => spec !== undefined).filter((spec) => validateSpec(manifest, spec, active) === undefined);
    return specs.length === 0 ? undefined : dice.pick(specs);
  }

  /** Does all of a job but its publication. */
  run(spec: CompactionSpec): TreeJob {
    const plan = planCompaction(this.manifest, spec, this.limits, this.known.facts);
    const outputs = Effect.runSync(runCompaction(
      {
        store: this.store,
        tables: this.tables,
        root: ROOT,
        encoding: ENCODING,
        merge: concat,
        mintTableId: () => this.#mint(),
        maxSstBytes: this.maxSstBytes,
      },
      plan,
      { bytesIn: 0, bytesOut: 0 },
    ));
    return { plan, outputs };
  }

  /** Publishes a job; whether its sources were still there. */
  publish({ plan, outputs }: TreeJob): boolean {
    const before = this.manifest;
    const next = applyCompaction(before, plan, outputs.map((made) => made.map(({ view }) => view)));
    if (next === "gone") return false;
    assertSuccessor(before, next, "compactor");
    assertManifest(next);
    for (const { view, isPlain } of outputs.flat()) this.known.note(view.sstId, isPlain);
    this.dropped += plan.segments.filter(({ kind }) => kind === "drop").length;
    this.manifest = next;
    return true;
  }

  /** Runs a job and publishes it. */
  compact(spec: CompactionSpec): void {
    assert.equal(validateSpec(this.manifest, spec, []), undefined);
    assert.ok(this.publish(this.run(spec)));
  }

  /** Fails when a protected read differs from the model, or a table reaches beyond its place. */
  check(): void {
    this.checkRuns();
    const { manifest, tables } = this;
    const view = { memtables: [], ...buildLevels(manifest, tables) };
    const oldest = Math.min(manifest.recentSnapshotMinSeq, this.lastSeq);
    const tick = manifest.lastL0ClockTick;
    const numbers = [...new Set([oldest, this.lastSeq, oldest + this.dice.roll(this.lastSeq - oldest + 1)])];
    for (const maxSeq of numbers) {
      const spec = { maxSeq, nowMillis: tick, mergeOperator: concat };
      for (const key of KEYS) {
        const want = show(modelGet(this.rows, key, spec, this.ranges));
        const found = Effect.runSync(fetchLookup(tables, view, key, spec, { cache: true }));
        const got = found === undefined ? undefined : { ...found, key };
        const entry = got === undefined ? undefined : {
          key,
          value: got.value,
          seq: got.seq,
          createdAt: got.createTs === NO_TICK ? 0 : got.createTs,
          ...(got.expireTs === Infinity ? {} : { expiresAt: got.expireTs }),
        };
        assert.equal(show(entry), want, `${String.fromCharCode(...key)} at ${maxSeq} of ${oldest}..${this.lastSeq}`);
      }
    }
  }

  /** Fails when tables of a run overlap, or a fragment lies outside of its table's span. */
  checkRuns(): void {
    const { l0, compacted } = this.manifest;
    for (const run of compacted) {
      const spans = spansOfRun(run);
      for (let i = 1; i < spans.length; i++) {
        assert.ok(!spansOverlap(spans[i - 1]!, spans[i]!), `tables of run ${run.id} overlap`);
      }
    }
    for (const view of [...l0, ...compacted.flatMap((run) => run.ssts)]) {
      const span = spanOf({ ...view, visibleRange: undefined });
      const set = Effect.runSync(fetchRanges(this.store, this.tables.passingTable(view)));
      assert.equal(view.formatVersion, set.count === 0 ? 2 : RANGE_FORMAT);
      for (const { start, end } of set.fragments()) {
        assert.ok(compareBytes(span.first, start) <= 0 && reaches(span, start));
        assert.ok(end !== undefined || span.end === undefined);
        assert.ok(end === undefined || span.end === undefined || compareBytes(end, span.end) <= 0 || span.endInclusive);
      }
    }
  }

  /** The tombstones of a table. */
  rangesOf(view: SstView): RangeTombstone[] {
    return Effect.runSync(fetchRanges(this.store, this.tables.passingTable(view))).fragments();
  }

  /** Makes a table's bytes unreadable, but for its tombstones: whoever reads its rows or its index fails. */
  spoil(view: SstView): void {
    const path = tablePath(ROOT, view.sstId);
    const { rangeDeletes, indexOffset, indexLen } = view.info;
    const file = this.store.peek(path)!.slice();
    file.fill(0xaa, 0, rangeDeletes?.offset ?? indexOffset + indexLen);
    this.store.plant(path, file);
  }
}
