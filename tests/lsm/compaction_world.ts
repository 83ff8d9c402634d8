/**
 * Layouts of tables that exist only as descriptions, with the rows that each would hold, for tests of what compactions
 * do to a layout. A merge is played by sorting rows; it drops none, so that nothing may get lost.
 *
 * @module
 */
import fc from "fast-check";
import type { BoundRange, Manifest, SortedRun, SstView, Ulid } from "../../src/format/types.ts";
import type { CompactionLimits, CompactionPlan, CompactionSpec, TableFacts } from "../../src/lsm/compaction_job.ts";
import { planCompaction } from "../../src/lsm/compaction_plan.ts";
import { applyCompaction, validateSpec } from "../../src/lsm/compaction_rules.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import { assertSuccessor } from "../../src/state/manifest_invariants.ts";
import { assert } from "../support/suite.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Bytes that one row takes in these tables. */
export const ROW_BYTES = 10;

/** The bytes of a key. */
export function bytesOf(key: string): Uint8Array {
  return encoder.encode(key);
}

/** What a described table differs in. */
export interface TableShape {
  readonly bytes?: number;
  /** Default: it names its last entry. */
  readonly hasLast?: boolean;
  readonly visibleRange?: BoundRange | undefined;
}

/** A table by its id and keys. */
export function table(id: Ulid, first: string, last: string, shape: TableShape = {}): SstView {
  return {
    viewId: id,
    sstId: id,
    info: {
      firstEntry: bytesOf(first),
      lastEntry: shape.hasLast === false ? undefined : bytesOf(last),
      indexOffset: (shape.bytes ?? 100) - 1,
      indexLen: 1,
      filterOffset: 0,
      filterLen: 0,
      compression: 0,
      sstType: 0,
      statsOffset: 0,
      statsLen: 0,
      filterFormat: 0,
    },
    visibleRange: shape.visibleRange,
    formatVersion: 2,
  };
}

/** Tables by text: "a b-m 500" is table a over b to m with 500 bytes; several are parted by commas. */
export function tables(text: string): SstView[] {
  return text.split(",").map((part) => part.trim()).filter((part) => part !== "").map((part) => {
    const [id, range, bytes] = part.split(" ");
    const [first, last] = range!.split("-");
    return table(id!, first!, last!, { bytes: Number(bytes ?? 100) });
  });
}

/** A manifest of L0 (newest first) and runs (by id). */
export function manifestOf(l0: string, runs: Readonly<Record<number, string>> = {}): Manifest {
  const compacted = Object.entries(runs).map(([id, text]): SortedRun => ({ id: Number(id), ssts: tables(text) }));
  compacted.sort((a, b) => b.id - a.id);
  return { ...emptyManifest(false), l0: tables(l0), compacted, recentSnapshotMinSeq: 77, lastL0ClockTick: 88 };
}

/** Layout as text, for comparing. */
export function textOf(manifest: Manifest): string {
  const ids = (views: ReadonlyArray<SstView>): string => views.map((view) => view.sstId).join(" ");
  return [`L0: ${ids(manifest.l0)}`, ...manifest.compacted.map((run) => `${run.id}: ${ids(run.ssts)}`)].join(" | ");
}

/** A plan's segments as text: "[a + b c]" merges source a with source b c; "d" moves. */
export function planText(plan: CompactionPlan): string {
  return plan.segments.map((segment) =>
    segment.kind !== "merge"
      ? segment.view.sstId
      : `[${segment.sources.map((source) => source.map((view) => view.sstId).join(" ")).join(" + ")}]`
  ).join(" ");
}

/** A version of a key. */
export interface Row {
  readonly key: string;
  readonly seq: number;
}

/** A layout and the rows of its tables. */
export class World {
  manifest: Manifest = emptyManifest(false);
  lastSeq = 0;
  readonly #rows = new Map<Ulid, ReadonlyArray<Row>>();
  readonly #plain = new Set<Ulid>();
  #lastId = 0;

  /** What is known of the tables. */
  readonly facts: TableFacts = (id) => this.#plain.has(id) ? { isPlain: true } : undefined;

  /** Makes a table of rows in order. */
  store(rows: ReadonlyArray<Row>, shape: TableShape & { readonly isPlain?: boolean } = {}): SstView {
    const id = `T${String(++this.#lastId).padStart(6, "0")}`;
    this.#rows.set(id, rows);
    if (shape.isPlain === true) this.#plain.add(id);
    return table(id, rows[0]!.key, rows[rows.length - 1]!.key, { ...shape, bytes: rows.length * ROW_BYTES });
  }

  /** A new row for each of the keys, in a table's order. */
  rowsFor(keys: ReadonlyArray<string>): Row[] {
    return keys.map((key) => ({ key, seq: ++this.lastSeq })).sort(byKeyThenNewest);
  }

  /** Puts a table of new rows in front of L0. */
  flush(keys: ReadonlyArray<string>, isPlain = false): void {
    const view = this.store(this.rowsFor(keys), { isPlain });
    this.manifest = { ...this.manifest, l0: [view, ...this.manifest.l0] };
  }

  /** The rows that a reference shows. */
  visible(view: SstView): ReadonlyArray<Row> {
    const rows = this.#rows.get(view.sstId)!;
    const { start, end } = view.visibleRange ?? { start: undefined, end: undefined };
    const from = start?.key === undefined ? "" : decoder.decode(start.key);
    const to = end?.key === undefined ? undefined : decoder.decode(end.key);
    return rows.filter(({ key }) => key >= from && (to === undefined || key < to || (key === to && end!.inclusive)));
  }

  /** Sources, newest first; the rows of each in its own order. */
  sources(): Array<ReadonlyArray<Row>> {
    const { l0, compacted } = this.manifest;
    return [
      ...l0.map((view) => this.visible(view)),
      ...compacted.map((run) => run.ssts.flatMap((view) => this.visible(view))),
    ];
  }

  /** Every row there is, sorted. */
  allRows(): string[] {
    return this.sources().flat().map(({ key, seq }) => `${key}@${seq}`).sort();
  }

  /** For every key, newer places have newer versions, and runs ascend. */
  check(): void {
    const oldest = new Map<string, number>();
    for (const rows of this.sources()) {
      for (const [i, { key, seq }] of rows.entries()) {
        assert.ok(seq < (oldest.get(key) ?? Infinity), `${key}@${seq} lies below an older version`);
        oldest.set(key, seq);
        if (i > 0) assert.ok(rows[i - 1]!.key <= key, `${key} comes after ${rows[i - 1]!.key} in one source`);
      }
    }
    for (const run of this.manifest.compacted) {
      for (let i = 1; i < run.ssts.length; i++) {
        const [left, right] = [run.ssts[i - 1]!, run.ssts[i]!];
        const first = decoder.decode(right.info.firstEntry);
        assert.ok(decoder.decode(left.info.firstEntry) <= first, "a run's first entries do not ascend");
        const ends = [left.info.lastEntry, left.visibleRange?.end.key].filter((end) => end !== undefined);
        if (ends.length === 0) continue;
        assert.ok(ends.some((end) => decoder.decode(end) <= first), "a run's tables overlap");
      }
    }
  }

  /** Plans a valid job, checking what a merge may rely on. */
  plan(spec: CompactionSpec, limits: CompactionLimits): CompactionPlan {
    const plan = planCompaction(this.manifest, spec, limits, this.facts);
    let bytes = 0;
    for (const segment of plan.segments) {
      const views = segment.kind !== "merge" ? [segment.view] : segment.sources.flat();
      bytes += views.reduce((sum, view) => sum + this.#rows.get(view.sstId)!.length * ROW_BYTES, 0);
      if (segment.kind === "merge") this.#checkMerge(plan, segment.sources);
      else assert.ok(!plan.isLastRun || this.facts(segment.view.sstId)?.isPlain === true, "moved into the last run");
    }
    assert.equal(plan.mergeBytes + plan.moveBytes, bytes);
    return plan;
  }

  #checkMerge(plan: CompactionPlan, sources: ReadonlyArray<ReadonlyArray<SstView>>): void {
    const oldest = new Map<string, number>();
    for (const source of sources) {
      let before = "";
      for (const { key, seq } of source.flatMap((view) => this.visible(view))) {
        assert.ok(seq < (oldest.get(key) ?? Infinity), "the sources of a merge are not newest first");
        assert.ok(before <= key, "a source of a merge does not ascend");
        oldest.set(key, seq);
        before = key;
      }
    }
    if (!plan.isLastRun) return;
    const here = new Set(sources.flat().flatMap((view) => this.visible(view)));
    for (const row of this.sources().flat()) {
      const isOlder = !here.has(row) && row.seq < (oldest.get(row.key) ?? 0);
      assert.ok(!isOlder, `${row.key}@${row.seq} is older than what is merged as if nothing lay below`);
    }
  }

  /** Merges as planned and publishes the result; answers what applying it answered. */
  run(plan: CompactionPlan, limits: CompactionLimits): "done" | "gone" {
    const outputs = plan.segments.flatMap((segment) =>
      segment.kind !== "merge" ? [] : [this.#merge(segment.sources.flat(), limits.maxSstBytes)]
    );
    const before = this.manifest;
    const next = applyCompaction(before, plan, outputs);
    if (next === "gone") return next;
    assertSuccessor(before, next, "compactor");
    const rows = this.allRows();
    this.manifest = next;
    this.check();
    assert.deepEqual(this.allRows(), rows, "the same rows as before, each once");
    return "done";
  }

  #merge(views: ReadonlyArray<SstView>, maxBytes: number): SstView[] {
    const rows = views.flatMap((view) => this.visible(view)).sort(byKeyThenNewest);
    const isPlain = views.every((view) => this.#plain.has(view.sstId));
    const outputs: SstView[] = [];
    let from = 0;
    for (let i = 1; i <= rows.length; i++) {
      const isFull = (i - from) * ROW_BYTES >= maxBytes && rows[i]?.key !== rows[i - 1]!.key;
      if (i < rows.length && !isFull) continue;
      outputs.push(this.store(rows.slice(from, i), { isPlain }));
      from = i;
    }
    return outputs;
  }
}

function byKeyThenNewest(a: Row, b: Row): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : b.seq - a.seq;
}

/** A key by its number. */
export function keyOf(n: number): string {
  return String(n).padStart(3, "0");
}

interface SourceShape {
  readonly keys: ReadonlyArray<number>;
  /** After how many rows a run's tables are cut, in turn. */
  readonly cuts: ReadonlyArray<number>;
  /** Bit 0: names no last entry. Bit 1: plain. Bits 2 and 3 both: a visible range. One number for each table, in turn. */
  readonly traits: ReadonlyArray<number>;
}

const anySource: fc.Arbitrary<SourceShape> = fc.record({
  keys: fc.oneof(
    fc.array(fc.nat(39), { minLength: 1, maxLength: 14 }),
    fc.tuple(fc.nat(36), fc.array(fc.nat(3), { minLength: 1, maxLength: 8 })).map(([at, near]) =>
      near.map((n) => n + at)
    ),
  ),
  cuts: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 }),
  traits: fc.array(fc.nat(15), { minLength: 1, maxLength: 4 }),
});

/** Random layouts in proper order; versions of a key go on over table borders here and there. */
export const anyWorld: fc.Arbitrary<World> = fc.record({
  l0: fc.array(anySource, { maxLength: 8 }),
  runs: fc.array(fc.oneof({ arbitrary: anySource, weight: 9 }, { arbitrary: fc.constant(undefined), weight: 1 }), {
    maxLength: 9,
  }),
  idStep: fc.integer({ min: 1, max: 3 }),
}).map(({ l0, runs, idStep }) => {
  const world = new World();
  const compacted = runs.map((shape, i): SortedRun => ({
    id: i * idStep,
    ssts: shape === undefined ? [] : cutTables(world, shape),
  }));
  const newestLast = l0.map((shape) => cutTables(world, { ...shape, cuts: [Infinity] })[0]!);
  world.manifest = { ...world.manifest, compacted: compacted.reverse(), l0: newestLast.reverse() };
  world.check();
  return world;
});

function cutTables(world: World, { keys, cuts, traits }: SourceShape): SstView[] {
  const rows = world.rowsFor(keys.map(keyOf));
  const views: SstView[] = [];
  for (let from = 0; from < rows.length;) {
    const part = rows.slice(from, from + cuts[views.length % cuts.length]!);
    const trait = traits[views.length % traits.length]!;
    const middle = { key: bytesOf(part[part.length >> 1]!.key), inclusive: (trait & 1) === 1 };
    const open = { key: undefined, inclusive: false };
    views.push(world.store(part, {
      hasLast: (trait & 1) === 0,
      isPlain: (trait & 2) === 2,
      visibleRange: trait < 12
        ? undefined
        : (trait & 2) === 2
        ? { start: { ...middle, inclusive: true }, end: open }
        : { start: open, end: middle },
    }));
    from += part.length;
  }
  return views;
}

/** Asserts that `spec` may run beside `active`. */
export function assertValid(manifest: Manifest, spec: CompactionSpec, active: ReadonlyArray<CompactionSpec>): void {
  assert.equal(validateSpec(manifest, spec, active), undefined);
}
