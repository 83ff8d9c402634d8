/**
 * Turns frozen memtables into L0 tables, range tombstones and all: uploads several at once, names them in the manifest
 * strictly in order.
 *
 * State of a frozen memtable: queued, uploading, uploaded, published (then it is gone from the state). Nothing here
 * decides what a manifest holds beyond `publishTables`; the commit itself is the writer manifest's, which also sees to the
 * gate. When the last range tombstone is gone this actor gives the gate back.
 *
 * Invariants: M2 a table named by a committed manifest is fully stored; L1 tables are published oldest first, and only
 * when every row of theirs is durable in the WAL (else a crash would leave rows from the future in L0 while their WAL
 * ids are used again); L2 a memtable leaves memory only when the manifest used by reads names its table.
 *
 * @module
 */
import { Effect, Schedule, type Scope, Semaphore } from "effect";
import type { EngineCounters } from "../src/env/counters.ts";
import type { DataError, StoreError } from "../src/errors.ts";
import { tablePath } from "../src/format/paths.ts";
import { RANGE_FORMAT, type SstView, type Ulid } from "../src/format/types.ts";
import type { BuiltSst } from "../src/format/sst_builder.ts";
import { stripesAbove } from "../src/lsm/range_retention.ts";
import { type TableEncoding, TableWriter } from "../src/lsm/table_writer.ts";
import type { FoldMerge } from "../src/lsm/merge_operator.ts";
import { publishTables } from "../src/state/manifest_edits.ts";
import type { ManifestFault, ManifestHandle } from "../src/state/manifest_handle.ts";
import { settleGate } from "../src/state/range_gate.ts";
import type { Memtable } from "../src/lsm/memtable.ts";
import type { FrozenMemtable, WriterState } from "../src/state/writer_state.ts";
import { putTable } from "../src/store/put_table.ts";
import type { ObjectStoreShape } from "../src/store/object_store.ts";
import { type Actor, oneTimer, spawn } from "./actor.ts";
import type { Supervisor } from "./supervisor.ts";

/** What the flusher works with. */
export interface MemtableFlusherSpec {
  readonly supervisor: Supervisor;
  readonly state: WriterState;
  readonly manifest: ManifestHandle;
  /** Where tables live; retries transient faults for as long as the database is open. */
  readonly store: ObjectStoreShape;
  readonly root: string;
  readonly encoding: TableEncoding;
  readonly merge: FoldMerge | undefined;
  readonly counters: EngineCounters;
  /** Uploads at once, at least 1. */
  readonly parallelism: number;
  /** How many L0 tables there may be before uploads wait for a compaction; Infinity = any number. */
  readonly l0Limit: () => number;
  /** Hears of each stored table whether it holds only plain values. */
  readonly onStored: (sstId: Ulid, isPlain: boolean) => void;
  /** With the WAL off: longest time that rows stay in memory only, ms; Infinity = until somebody waits. */
  readonly flushIntervalMillis: number;
  /** Asks the WAL flusher to store what is buffered. */
  readonly flushWal: () => void;
}

/**
 * "tables": something was frozen, uploaded or made durable; "gate": the last range tombstone may be gone. With the WAL
 * off also "rows": the memtable got its first rows, and "wanted": somebody waits for rows to become durable.
 */
export type MemtableMessage = "tables" | "rows" | "wanted" | "gate";

/** A finished upload. */
interface Uploaded {
  readonly view: SstView | undefined;
}

/** Store errors that no repetition mends. */
const FINAL: ReadonlySet<string> = new Set(["conflict", "invalid-path", "unsupported"]);

/** Pause before a lost upload in parts is begun anew, ms. */
const UPLOAD_PAUSE_MILLIS = 1000;

/** Rows encoded between two yields to other fibers: a few milliseconds of work. */
const ROWS_PER_SLICE = 2048;

/** Starts the memtable flusher in the current scope. */
export function memtableFlusher(
  spec: MemtableFlusherSpec,
): Effect.Effect<Actor<MemtableMessage>, never, Scope.Scope> {
  const started = new Set<FrozenMemtable>();
  const uploaded = new Map<FrozenMemtable, Uploaded>();
  // Uploads overlap; encoding is work of this thread, and two halves of tables hold more memory than one whole.
  const encoder = Semaphore.makeUnsafe(1);
  return Effect.gen(function* () {
    const scope = yield* Effect.scope;
    const startUploads = (self: Actor<MemtableMessage>): Effect.Effect<void> =>
      Effect.gen(function* () {
        for (const table of spec.state.frozen) {
          if (started.size - uploaded.size >= spec.parallelism) return;
          if (spec.state.stored.manifest.l0.length + started.size >= spec.l0Limit()) return;
          if (started.has(table)) continue;
          if (mustWait(spec, table)) return;
          started.add(table);
          yield* upload(spec, table, encoder).pipe(
            Effect.flatMap((done) =>
              Effect.sync(() => {
                uploaded.set(table, done);
                self.tell("tables");
              })
            ),
            spec.supervisor.watch("memtable upload"),
            Effect.forkIn(scope),
          );
        }
      });
    const timed = Number.isFinite(spec.flushIntervalMillis);
    const freezeLater = oneTimer(scope, spec.flushIntervalMillis, () => spec.state.freeze());
    return yield* spawn<MemtableMessage, ManifestFault, never>(spec.supervisor, {
      name: "memtable flusher",
      kinds: ["tables", "rows", "wanted", "gate"],
      handle: (kind, self) =>
        Effect.gen(function* () {
          if (kind === "rows") return yield* freezeLater;
          if (kind === "gate") {
            if (spec.state.mayLiftGate) yield* spec.manifest.commit(settleGate);
            return;
          }
          if (kind === "wanted" && !timed) spec.state.freeze();
          yield* startUploads(self);
          const ready = publishable(spec, uploaded);
          if (ready.length === 0) return;
          yield* publish(spec, ready, uploaded);
          for (const table of ready) {
            started.delete(table);
            uploaded.delete(table);
          }
          self.tell("tables");
        }),
    });
  });
}

/**
 * Whether a memtable with range tombstones has rows that are not durable in the log: until they are, a read at the
 * durable bound may part any two of them, and all would have to be kept.
 */
function mustWait({ state, flushWal }: MemtableFlusherSpec, { memtable }: FrozenMemtable): boolean {
  if (state.wal === undefined || memtable.ranges.count === 0) return false;
  if (memtable.lastSeq <= state.sequencer.durableSeq) return false;
  flushWal();
  return true;
}

/** The longest run of oldest tables that are uploaded and whose rows are durable. */
function publishable(spec: MemtableFlusherSpec, uploaded: Map<FrozenMemtable, Uploaded>): FrozenMemtable[] {
  const { state } = spec;
  const ready: FrozenMemtable[] = [];
  for (const table of state.frozen) {
    if (!uploaded.has(table)) break;
    if (state.wal !== undefined && table.memtable.lastSeq > state.sequencer.durableSeq) {
      spec.flushWal();
      break;
    }
    ready.push(table);
  }
  return ready;
}

function publish(
  spec: MemtableFlusherSpec,
  ready: ReadonlyArray<FrozenMemtable>,
  uploaded: Map<FrozenMemtable, Uploaded>,
): Effect.Effect<void, ManifestFault> {
  const { state } = spec;
  const tables = ready.map((table) => ({
    view: uploaded.get(table)!.view,
    lastSeq: table.memtable.lastSeq,
    lastTick: table.memtable.lastTick,
    tracker: table.memtable.tracker,
  }));
  const edit = publishTables(
    tables,
    (seq) => state.ledger.boundaryFor(seq),
    state.ledger.lastId,
    (otherwise) => state.oldestProtected(otherwise),
  );
  return Effect.asVoid(spec.manifest.commit(edit));
}

function upload(
  spec: MemtableFlusherSpec,
  table: FrozenMemtable,
  encoder: Semaphore.Semaphore,
): Effect.Effect<Uploaded, StoreError | DataError> {
  return Effect.gen(function* () {
    const built = yield* encoder.withPermit(encode(spec, table));
    if (built === undefined) return { view: undefined };
    // A lost upload in parts is begun anew; single puts are retried below.
    yield* putTable(spec.store, tablePath(spec.root, table.sstId), built).pipe(
      Effect.retry({
        schedule: Schedule.spaced(UPLOAD_PAUSE_MILLIS),
        while: (error) => !FINAL.has(error.reason),
      }),
    );
    spec.counters.memtableFlushes++;
    spec.counters.l0FlushBytes += built.sizeBytes;
    spec.onStored(table.sstId, built.isPlain);
    return {
      view: {
        viewId: table.sstId,
        sstId: table.sstId,
        info: built.info,
        visibleRange: undefined,
        formatVersion: built.info.rangeDeletes === undefined ? 2 : RANGE_FORMAT,
      },
    };
  });
}

/** Encodes in slices, so that a foreground read never waits for a whole table. */
function encode(spec: MemtableFlusherSpec, { memtable }: FrozenMemtable): Effect.Effect<BuiltSst | undefined> {
  return Effect.gen(function* () {
    const { state } = spec;
    const { durableSeq } = state.sequencer;
    const minSeq = state.snapshots.oldest(durableSeq);
    // Whoever comes to read from now on reads at the durable bound of this moment, or at all of this memtable.
    const protectedSeqs = [...state.snapshots.numbers(), durableSeq].sort((a, b) => a - b);
    const stripeOf = stripesAbove(memtable.lastSeq, protectedSeqs);
    const rules = {
      minSeq,
      tick: memtable.lastTick,
      dropTombstones: false,
      merge: spec.merge,
    };
    const expectedBytes = expectedTableBytes(memtable, spec.encoding);
    const ranges = memtable.ranges.all();
    const writer = new TableWriter(memtable.cursor(), spec.encoding, rules, expectedBytes, ranges, stripeOf);
    while (writer.step(ROWS_PER_SLICE)) yield* Effect.yieldNow;
    if (writer.retained.foldFailure !== undefined) state.mergeFailure = writer.retained.foldFailure;
    return writer.finish();
  });
}

/** About the size of the file: the rows, their filter and a little more, so that the buffer need not grow. */
function expectedTableBytes(memtable: Memtable, encoding: TableEncoding): number {
  const filter = Math.ceil((memtable.entryCount * encoding.filterBitsPerKey) / 8);
  return encoding.compression === 0 ? memtable.estimatedSstBytes + filter : 0;
}
