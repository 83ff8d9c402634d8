/**
 * Sustained ingest in virtual time: what it asks of the store, counted exactly.
 *
 * Rows come at a steady rate that the clock sets, not the machine: each twentieth of a second of virtual time brings its
 * share in batches that nobody waits for. Stores answer at once. Two runs give the same counts anywhere.
 *
 * @module
 */
import { open, type OpenOptions, WriteBatch } from "../mod.ts";
import { memoryStore, virtualClock } from "../src/testing.ts";
import { KEY_BYTES, keyOf, makeValues } from "./rows.ts";

/** What is written, and how fast. */
export interface CostWorkload {
  readonly valueBytes: number;
  /** User bytes in all. */
  readonly userBytes: number;
  readonly bytesPerSecond: number;
  readonly options: OpenOptions;
  /** Keys ascend instead of looking random. */
  readonly isAscending?: boolean;
}

/** What it took, from after the open until everything due was compacted. */
export interface Costs {
  readonly userBytes: number;
  /** PUT-class requests: puts, and each step of an upload in parts. */
  readonly puts: number;
  /** The same by the kind of object; an upload in parts counts all its steps. */
  readonly putsOf: Readonly<Record<"wal" | "manifest" | "compactions" | "tables", number>>;
  readonly gets: number;
  /** LISTs by component, only of those that made any. */
  readonly lists: Readonly<Record<string, number>>;
  readonly bytesWritten: number;
  readonly bytesRead: number;
}

const PUT_KINDS: ReadonlySet<string> = new Set([
  "put",
  "putIfAbsent",
  "copy",
  "upload",
  "uploadPart",
  "uploadComplete",
]);
const TICK_MILLIS = 50;
/** Virtual time after the last row in which compactions end; short of the first collection. */
const REST_MILLIS = 30_000;
const ROWS_PER_BATCH = 1000;
const START_MILLIS = 1_700_000_000_000;

/** Writes, waits until compactions rest, and counts. */
export async function countCosts(workload: CostWorkload): Promise<Costs> {
  const clock = virtualClock(START_MILLIS);
  const store = memoryStore();
  const db = await open({ store, path: "" }, { ...workload.options, clock });
  const before = db.cost();
  const objectsBefore = foldersOf(store.objects());
  const values = makeValues(workload.valueBytes);
  const rowBytes = KEY_BYTES + workload.valueBytes;
  const rows = Math.floor(workload.userBytes / rowBytes);
  const perTick = workload.bytesPerSecond / rowBytes / (1000 / TICK_MILLIS);
  let row = 0;
  for (let tick = 1; row < rows; tick++) {
    const end = Math.min(rows, Math.round(tick * perTick));
    while (row < end) {
      const batch = new WriteBatch();
      for (const last = Math.min(end, row + ROWS_PER_BATCH); row < last; row++) {
        batch.put(workload.isAscending === true ? ascendingKey(row) : keyOf(row), values[row & 63]!);
      }
      await db.write(batch, { durable: false });
    }
    await clock.advance(TICK_MILLIS);
  }
  const flushed = db.flush({ kind: "memtable" });
  await clock.advance(REST_MILLIS);
  await flushed;
  const after = db.cost();
  const objects = foldersOf(store.objects());
  await db.close();
  const made = (folder: string): number => (objects.get(folder) ?? 0) - (objectsBefore.get(folder) ?? 0);
  const puts = total(after.requests, before.requests, (kind) => PUT_KINDS.has(kind));
  const [wal, manifest, compactions] = [made("wal"), made("manifest"), made("compactions")];
  return {
    userBytes: rows * rowBytes,
    puts,
    putsOf: { wal, manifest, compactions, tables: puts - wal - manifest - compactions },
    gets: total(after.requests, before.requests, (kind) => kind.startsWith("get")),
    lists: Object.fromEntries(
      Object.keys(after.requests).map((component): [string, number] => [
        component,
        (after.requests[component]?.["list"] ?? 0) - (before.requests[component]?.["list"] ?? 0),
      ]).filter(([, count]) => count > 0),
    ),
    bytesWritten: after.bytesWritten - before.bytesWritten,
    bytesRead: after.bytesRead - before.bytesRead,
  };
}

type Requests = Readonly<Record<string, Readonly<Record<string, number>>>>;

function total(after: Requests, before: Requests, isMeant: (kind: string) => boolean): number {
  let sum = 0;
  for (const [component, kinds] of Object.entries(after)) {
    for (const [kind, count] of Object.entries(kinds)) {
      if (isMeant(kind)) sum += count - (before[component]?.[kind] ?? 0);
    }
  }
  return sum;
}

function foldersOf(paths: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const path of paths) {
    const folder = path.slice(0, path.indexOf("/"));
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return counts;
}

function ascendingKey(row: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  new DataView(key.buffer).setUint32(KEY_BYTES - 4, row);
  return key;
}
