/**
 * Tables over time, in numbers: memtables become L0 tables, and the real scheduler and planner say what is compacted.
 *
 * Nothing is encoded or stored: a table is a number of rows and a span of keys in a manifest that only exists here.
 * Compactions are done at once, as if they kept up with the writes. Rows are spread evenly; how many different keys a
 * merge is left with is what chance would leave.
 *
 * What comes after `TABLES_MAX` tables goes on as it did: each fourfold growth adds what the last one added. Of a run of
 * more than `RUN_TABLES_MAX` tables each that is modelled stands for several, so that work and memory have a bound.
 *
 * @module
 */
import type { Manifest, SstInfo, SstView, Ulid } from "../format/types.ts";
import { ulidFromParts } from "../format/ulid.ts";
import type { CompactionSegment } from "../lsm/compaction_job.ts";
import { isWorthRunning, planCompaction } from "../lsm/compaction_plan.ts";
import { applyCompaction } from "../lsm/compaction_rules.ts";
import { windowBytes } from "../lsm/passing_cursor.ts";
import { emptyManifest } from "../state/manifest_edits.ts";
import { SINGLE_PUT_MAX_BYTES } from "../store/put_table.ts";
import type { ResolvedCompactor } from "./compactor_options.ts";
import type { RowSizes, TableSizes } from "./cost_plan_sizes.ts";

/** L0 tables that are really gone through. */
export const TABLES_MAX = 1024;
/** Tables of one run, or of one merge, that are told apart. */
const RUN_TABLES_MAX = 256;
/** Tables that compactions are chosen among, added up over all of them: what comes after so much work goes on evenly. */
const WORK_MAX = 1_000_000;
/** Size of the parts that a large table goes up in. */
const PART_BYTES = 8 * 1024 * 1024;

/** What tables are made of. */
export interface TableWorld {
  readonly sizes: RowSizes;
  /** Rows of a memtable. */
  readonly rowsPerTable: number;
  readonly isAscending: boolean;
  /** Infinity: every row has a key of its own. */
  readonly distinctKeys: number;
  readonly existingRows: number;
  /** Undefined: nobody compacts. */
  readonly compactor: ResolvedCompactor | undefined;
}

/** Requests and bytes that tables caused. */
export interface TableCosts {
  /** Tables of L0. */
  flushes: number;
  flushPuts: number;
  flushBytes: number;
  /** Compactions that were published, and those of them that merged rather than moved. */
  jobs: number;
  merges: number;
  /** Tables made by merges. */
  made: number;
  mergePuts: number;
  mergeGets: number;
  mergeBytesWritten: number;
  mergeBytesRead: number;
}

/** Where it ended. */
export interface TableOutcome {
  readonly costs: TableCosts;
  /** Bytes of all tables that are in use at the end. */
  readonly liveBytes: number;
  readonly liveTables: number;
  /** L0 tables and runs, on average over the last quarter. */
  readonly sources: number;
}

const NONE: TableCosts = {
  flushes: 0,
  flushPuts: 0,
  flushBytes: 0,
  jobs: 0,
  merges: 0,
  made: 0,
  mergePuts: 0,
  mergeGets: 0,
  mergeBytesWritten: 0,
  mergeBytesRead: 0,
};
const FIELDS = Object.keys(NONE) as ReadonlyArray<keyof TableCosts>;

/** `a + factor * b`, field by field. */
function plus(a: TableCosts, b: TableCosts, factor: number): TableCosts {
  const sum = { ...NONE };
  for (const field of FIELDS) sum[field] = a[field] + factor * b[field];
  return sum;
}

/** PUT-class requests for a table. */
function putsOf(bytes: number): number {
  return bytes <= SINGLE_PUT_MAX_BYTES ? 1 : 2 + Math.ceil(bytes / PART_BYTES);
}

/** What `flushes` tables of L0 cost, the compactions that they cause included. May be a fraction. */
export function tableCosts(world: TableWorld, flushes: number): TableOutcome {
  const tree = new Tree(world);
  const planned = Math.min(Math.floor(flushes), TABLES_MAX);
  const marks = new Map<number, TableCosts>();
  let sources = 0;
  let looks = 0;
  for (let step = 1; step <= planned && !tree.isTired; step++) {
    tree.flush();
    if (step === TABLES_MAX / 16 || step === TABLES_MAX / 4) marks.set(step, { ...tree.costs });
    if (step > planned * 3 / 4) {
      sources += tree.sources;
      looks++;
    }
  }
  const beyond = tree.costs.flushes < planned
    ? evened(tree, flushes)
    : planned === TABLES_MAX
    ? grown(tree, marks, flushes)
    : { costs: tree.costs, factor: 1 };
  return {
    costs: beyond.costs,
    liveBytes: tree.liveBytes(beyond.factor),
    liveTables: tree.liveTables * beyond.factor,
    sources: looks === 0 ? tree.sources : sources / looks,
  };
}

/** As many tables more as are missing, each at the cost of those that were gone through. */
function evened(tree: Tree, flushes: number): { readonly costs: TableCosts; readonly factor: number } {
  return { costs: plus(NONE, tree.costs, flushes / tree.costs.flushes), factor: tree.growth(flushes) };
}

/** What comes after the tables that were gone through. */
function grown(
  tree: Tree,
  marks: ReadonlyMap<number, TableCosts>,
  flushes: number,
): { readonly costs: TableCosts; readonly factor: number } {
  const [early, late] = [marks.get(TABLES_MAX / 16)!, marks.get(TABLES_MAX / 4)!];
  const perFlush = (from: TableCosts, to: TableCosts) =>
    plus(NONE, plus(to, from, -1), 1 / (to.flushes - from.flushes));
  const last = perFlush(late, tree.costs);
  const growth = plus(last, perFlush(early, late), -1);
  let costs = { ...tree.costs };
  let rate = last;
  for (let from = TABLES_MAX; from < flushes; from *= 4) {
    rate = plus(rate, growth, 1);
    costs = plus(costs, rate, Math.min(from * 4, flushes) - from);
  }
  return { costs, factor: tree.growth(flushes) };
}

/** A table in numbers, or several that lie side by side. */
interface TableNumbers {
  /** How many it stands for. */
  readonly count: number;
  /** Of all of them. */
  readonly rows: number;
  /** Of one. */
  readonly sizes: TableSizes;
  /** First and last key, as numbers. */
  readonly first: number;
  readonly last: number;
}

/** The tables of one database. */
class Tree {
  costs: TableCosts = { ...NONE };
  readonly #world: TableWorld;
  readonly #tables: Map<Ulid, TableNumbers> = new Map();
  #manifest: Manifest = emptyManifest(false);
  #minted = 0;
  #work = 0;
  #written = 0;

  constructor(world: TableWorld) {
    this.#world = world;
    const { existingRows, distinctKeys, compactor, isAscending } = world;
    const rows = Math.min(existingRows, distinctKeys);
    this.#written = isAscending ? rows : 0;
    if (rows === 0) return;
    const maxBytes = compactor?.maxSstBytes ?? Infinity;
    const ssts = this.#split(rows, isAscending ? [0, rows - 1] : [0, 1], maxBytes).map((table) => this.#view(table));
    this.#manifest = { ...this.#manifest, compacted: [{ id: 0, ssts }] };
  }

  /** Whether it has chosen often enough among many tables. */
  get isTired(): boolean {
    return this.#work >= WORK_MAX;
  }

  /** L0 tables and runs. */
  get sources(): number {
    return this.#manifest.l0.length + this.#manifest.compacted.length;
  }

  get liveTables(): number {
    return this.#views.reduce((sum, view) => sum + this.#tables.get(view.sstId)!.count, 0);
  }

  /** How many times as many rows there are after `flushes` tables of L0; 1 where further rows only replace others. */
  growth(flushes: number): number {
    const { distinctKeys, existingRows, rowsPerTable } = this.#world;
    if (Number.isFinite(distinctKeys)) return 1;
    const rowsAfter = (tables: number) => existingRows + tables * rowsPerTable;
    return Math.max(1, rowsAfter(flushes) / rowsAfter(this.costs.flushes));
  }

  /** Bytes of all tables in use; `factor` times as many rows where every row has a key of its own. */
  liveBytes(factor: number): number {
    const bytesOf = ({ count, sizes }: TableNumbers) => count * sizes.file;
    return factor * this.#views.reduce((sum, view) => sum + bytesOf(this.#tables.get(view.sstId)!), 0);
  }

  /** Adds a table to L0, and does what is due then. */
  flush(): void {
    const { rowsPerTable, isAscending, distinctKeys } = this.#world;
    const rows = keysDrawn(rowsPerTable, distinctKeys);
    const first = isAscending ? this.#written : 0;
    const last = isAscending ? this.#written + rowsPerTable - 1 : 1;
    this.#written += rowsPerTable;
    const table: TableNumbers = { count: 1, rows, sizes: this.#world.sizes.table(rows), first, last };
    this.costs.flushes++;
    this.costs.flushPuts += putsOf(table.sizes.file);
    this.costs.flushBytes += table.sizes.file;
    this.#manifest = { ...this.#manifest, l0: [this.#view(table), ...this.#manifest.l0] };
    while (!this.isTired && this.#compact());
  }

  get #views(): ReadonlyArray<SstView> {
    return [...this.#manifest.l0, ...this.#manifest.compacted.flatMap((run) => run.ssts)];
  }

  /** Does one compaction; false when none is due. */
  #compact(): boolean {
    const { compactor } = this.#world;
    if (compactor === undefined) return false;
    const limits = { maxSstBytes: compactor.maxSstBytes, maxConcurrent: compactor.maxConcurrent };
    const facts = () => ({ isPlain: true });
    this.#work += this.#views.length;
    const [spec] = compactor.scheduler.propose(this.#manifest, [], limits);
    if (spec === undefined) return false;
    const plan = planCompaction(this.#manifest, spec, limits, facts);
    if (!isWorthRunning(plan, facts)) return false;
    const outputs = plan.segments.flatMap((segment) => segment.kind === "merge" ? [this.#merge(segment)] : []);
    const next = applyCompaction(this.#manifest, plan, outputs);
    if (next === "gone") return false;
    this.#manifest = next;
    this.costs.jobs++;
    if (plan.mergeBytes > 0) this.costs.merges++;
    const named = new Set(this.#views.map((view) => view.sstId));
    for (const id of this.#tables.keys()) if (!named.has(id)) this.#tables.delete(id);
    return true;
  }

  #merge({ sources }: Extract<CompactionSegment, { readonly kind: "merge" }>): SstView[] {
    const { distinctKeys, compactor, isAscending } = this.#world;
    const { costs } = this;
    const window = windowBytes(sources.length);
    let [first, last] = [Infinity, -Infinity];
    const rowsOf: number[] = [];
    for (const views of sources) {
      let rows = 0;
      for (const { sstId } of views) {
        const table = this.#tables.get(sstId)!;
        const { data, filter, index } = table.sizes;
        rows += table.rows;
        first = Math.min(first, table.first);
        last = Math.max(last, table.last);
        const isWhole = data + filter + index <= window;
        costs.mergeGets += table.count * (isWhole ? 1 : 1 + Math.ceil(data / window));
        costs.mergeBytesRead += table.count * (isWhole ? data + filter + index : data + index);
      }
      rowsOf.push(rows);
    }
    const keys = isAscending ? Infinity : distinctKeys * (last - first);
    const made = this.#split(keysTogether(rowsOf, keys), [first, last], compactor!.maxSstBytes);
    for (const { count, sizes: { file } } of made) {
      costs.made += count;
      costs.mergePuts += count * putsOf(file);
      costs.mergeBytesWritten += count * file;
    }
    return made.map((table) => this.#view(table));
  }

  /** So many rows as tables that are ended at `maxBytes`, of a row at least. */
  #split(rows: number, [first, last]: readonly [number, number], maxBytes: number): TableNumbers[] {
    const { sizes } = this.#world;
    const total = sizes.table(rows).data;
    const rowsOfOne = Math.min(rows, Math.max(1, rows * maxBytes / total));
    const tables = Math.max(1, Math.ceil(rows / rowsOfOne - 1e-9));
    const count = Math.min(tables, RUN_TABLES_MAX);
    const each = tables / count;
    const rowsOfFull = count < tables ? rows / count : rowsOfOne;
    return Array.from({ length: count }, (_, i) => {
      const own = i < count - 1 ? rowsOfFull : rows - (count - 1) * rowsOfFull;
      const at = (row: number) => first + (last - first) * row / rows;
      // Neighbours do not touch: the last key of one is not the first of the next.
      const gap = i < count - 1 ? (last - first) / rows / 2 : 0;
      return {
        count: each,
        rows: own,
        sizes: sizes.table(own / each),
        first: at(i * rowsOfFull),
        last: Math.max(at(i * rowsOfFull), at(i * rowsOfFull + own) - gap),
      };
    });
  }

  #view(table: TableNumbers): SstView {
    const sstId = ulidFromParts(++this.#minted, new Uint8Array(10));
    this.#tables.set(sstId, table);
    return { viewId: sstId, sstId, info: infoOf(table), visibleRange: undefined, formatVersion: 2 };
  }
}

function infoOf({ count, sizes: { data, filter, index, file }, first, last }: TableNumbers): SstInfo {
  const [filterOffset, filterLen, indexLen] = [data, filter, index].map((bytes) => Math.round(count * bytes)) as [
    number,
    number,
    number,
  ];
  const indexOffset = filterOffset + filterLen;
  const statsOffset = indexOffset + indexLen;
  return {
    firstEntry: keyOf(first),
    lastEntry: keyOf(last),
    indexOffset,
    indexLen,
    filterOffset,
    filterLen,
    compression: 0,
    sstType: 0,
    statsOffset,
    statsLen: Math.max(0, Math.round(count * file) - statsOffset),
    filterFormat: 0,
  };
}

/** A number of 0 or more as bytes in the same order. */
function keyOf(value: number): Uint8Array {
  const key = new Uint8Array(8);
  new DataView(key.buffer).setFloat64(0, value);
  return key;
}

/** How many different keys `rows` rows have that draw theirs from `keys`. */
function keysDrawn(rows: number, keys: number): number {
  return keys === Infinity ? rows : keys * -Math.expm1(-rows / keys);
}

/** How many different keys sources have together that draw theirs from `keys`, each without repeating itself. */
function keysTogether(rowsOf: ReadonlyArray<number>, keys: number): number {
  const total = rowsOf.reduce((sum, rows) => sum + rows, 0);
  if (keys === Infinity || rowsOf.length === 1) return total;
  const missed = rowsOf.reduce((part, rows) => part * Math.max(0, 1 - rows / keys), 1);
  return Math.min(total, keys * (1 - missed));
}
