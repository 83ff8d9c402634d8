/**
 * What the writer changes in a manifest, as pure functions over the freshest stored version.
 *
 * Every edit may meet its own result (a put whose answer was lost is redone on a fresh copy), so each is idempotent:
 * applied twice it answers `undefined`, "nothing to do". An edit touches only the writer's own fields; whatever a
 * compactor, reader or collector wrote is carried over unchanged.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { SequenceTracker } from "../format/sequence_tracker.ts";
import { type Manifest, NO_TICK, type SstView } from "../format/types.ts";

/**
 * An edit: the next manifest, undefined when nothing is left to change, or an error that refuses the commit.
 *
 * @param id number of the version `current` is
 */
export type ManifestEdit<E extends Error = never> = (current: Manifest, id: number) => Manifest | undefined | E;

/** The manifest of a database that holds nothing. */
export function emptyManifest(separateWalStore: boolean): Manifest {
  return {
    initialized: true,
    writerEpoch: 0,
    compactorEpoch: 0,
    replayAfterWalId: 0,
    walIdLastSeen: 0,
    lastCompactedL0: undefined,
    l0: [],
    compacted: [],
    lastL0ClockTick: NO_TICK,
    checkpoints: [],
    lastL0Seq: 0,
    walObjectStoreUri: separateWalStore ? "" : undefined,
    recentSnapshotMinSeq: 0,
    sequenceTracker: new SequenceTracker().encode(),
    externalDbs: [],
  };
}

/** Takes the next writer epoch. Not idempotent by intent: a second bump of one's own does no harm. */
export function claimWriterEpoch(current: Manifest): Manifest {
  return { ...current, writerEpoch: current.writerEpoch + 1 };
}

/** A table (or the proof that none was needed) that is stored and waits to be named by the manifest. */
export interface PublishedTable {
  /** Undefined when every row of the memtable was dropped. */
  readonly view: SstView | undefined;
  readonly lastSeq: number;
  readonly lastTick: number;
  readonly tracker: SequenceTracker;
}

/**
 * Names `tables` (oldest first) in the manifest. One whose rows are already covered by `lastL0Seq` is there already,
 * wherever compaction may have moved it since, and is not added twice.
 */
export function publishTables(
  tables: ReadonlyArray<PublishedTable>,
  walBoundary: (lastSeq: number) => number,
  walIdLastSeen: number,
  oldestProtected: (otherwise: number) => number,
): ManifestEdit {
  return (current) => {
    const fresh = tables.filter((table) => table.lastSeq > current.lastL0Seq);
    const newest = fresh.at(-1);
    if (newest === undefined) return undefined;
    const tracker = storedTracker(current);
    for (const table of fresh) tracker.extend(table.tracker, table.lastSeq);
    const views = fresh.flatMap((table) => table.view === undefined ? [] : [table.view]).reverse();
    return {
      ...current,
      l0: [...views, ...current.l0],
      replayAfterWalId: Math.max(current.replayAfterWalId, walBoundary(newest.lastSeq)),
      walIdLastSeen: Math.max(current.walIdLastSeen, walIdLastSeen),
      lastL0Seq: newest.lastSeq,
      lastL0ClockTick: fresh.reduce((tick, table) => Math.max(tick, table.lastTick), current.lastL0ClockTick),
      recentSnapshotMinSeq: Math.min(oldestProtected(newest.lastSeq), newest.lastSeq),
      sequenceTracker: tracker.encode(),
    };
  };
}

/** Says which is the oldest number that somebody may still read; a number that the manifest protects less is no news. */
export function protectFrom(oldestProtected: (otherwise: number) => number): ManifestEdit {
  return (current) => {
    const recentSnapshotMinSeq = Math.min(oldestProtected(current.lastL0Seq), current.lastL0Seq);
    return recentSnapshotMinSeq <= current.recentSnapshotMinSeq ? undefined : { ...current, recentSnapshotMinSeq };
  };
}

/** The tracker of a manifest; a damaged one is dropped (K-34): it only tells times, and must not stop the writer. */
export function storedTracker({ sequenceTracker }: Manifest): SequenceTracker {
  if (sequenceTracker === undefined) return new SequenceTracker();
  try {
    return SequenceTracker.decode(sequenceTracker);
  } catch (error) {
    if (error instanceof FormatError) return new SequenceTracker();
    throw error;
  }
}

/** Records the newest WAL id, as a clean close does. */
export function recordWalId(walIdLastSeen: number): ManifestEdit {
  return (current) => current.walIdLastSeen >= walIdLastSeen ? undefined : { ...current, walIdLastSeen };
}
