/**
 * What a scheduler proposes and a compactor runs: which tables become which run.
 *
 * A specification names runs whole, as the stored entry does; `tables` narrows what is really rewritten. Then a compactor
 * of 0.12.1 that takes over and starts the entry anew does a bigger job, never a wrong one.
 *
 * @module
 */
import type { Manifest, SstView, Ulid } from "../format/types.ts";
import type { KeySpan } from "./table_span.ts";

/** A compaction to do. */
export interface CompactionSpec {
  /** Source L0 views, newest first: always the oldest part of L0, to its end (K-16). May be empty. */
  readonly l0ViewIds: ReadonlyArray<Ulid>;
  /** Source runs, descending. May be empty. With L0 sources they start at the newest run. */
  readonly runIds: ReadonlyArray<number>;
  /** The run that is made: the lowest source run; for L0 alone an id above every run there is or ever was. */
  readonly destination: number;
  /** Tables (SST ids) of the source runs that are taken; undefined = all. L0 sources are always taken whole. */
  readonly tables?: ReadonlySet<Ulid> | undefined;
  /**
   * "move": tables that overlap no other source are moved as they are where that loses nothing. "rewrite": only tables
   * known to hold neither deletes nor expiry are (a manual compaction). "drop": the tables go without being read, because
   * range tombstones hide all that is in them (see `dropped_tables.ts`).
   */
  readonly effort: "move" | "rewrite" | "drop";
  /** Tables (SST ids) with the range tombstones that hide what is dropped: newer than it, and still there at the end. */
  readonly coveredBy?: ReadonlySet<Ulid> | undefined;
}

/** Sizes that schedulers and plans work with. */
export interface CompactionLimits {
  /** Size at which an output table is ended, bytes. */
  readonly maxSstBytes: number;
  /** Jobs at once, at least 1. */
  readonly maxConcurrent: number;
}

/** Decides what to compact. A pure function of its arguments: called again and again, it must come to rest. */
export interface CompactionScheduler {
  /** Name in status and logs. */
  readonly name: string;
  /** Fewest L0 tables that make it compact them: `l0MaxSsts` must not be smaller (K-14). */
  readonly minL0Sources: number;
  /** Whether its jobs take whole runs, so that an entry found after a crash says all about the job. */
  readonly wholeRuns: boolean;
  /**
   * New jobs, best first, that conflict neither with `active` nor with each other; at most as many as are free, and of
   * the places one is kept for L0 (K-42) when there is more than one.
   */
  readonly propose: (
    manifest: Manifest,
    active: ReadonlyArray<CompactionSpec>,
    limits: CompactionLimits,
  ) => ReadonlyArray<CompactionSpec>;
}

/** One part of a plan, in key order: a table that moves as it is, one that goes, or sources merged into new tables. */
export type CompactionSegment =
  | { readonly kind: "move" | "drop"; readonly view: SstView }
  | {
    readonly kind: "merge";
    /** Sources, newest first; each ascending by key, not overlapping (an L0 table, or tables of one run). */
    readonly sources: ReadonlyArray<ReadonlyArray<SstView>>;
    /** Bytes of the sources. */
    readonly bytes: number;
  };

/** How a specification is carried out on one manifest. */
export interface CompactionPlan {
  readonly spec: CompactionSpec;
  /** Ascending by key, never overlapping. */
  readonly segments: ReadonlyArray<CompactionSegment>;
  /** Whether nothing older than the sources exists below them: tombstones may go. */
  readonly isLastRun: boolean;
  /** Where something older than the sources may lie, ascending and apart; empty where nothing does, or it is not told. */
  readonly olderSpans: ReadonlyArray<KeySpan>;
  /** Reads at this sequence number and above must not change. */
  readonly minSeq: number;
  /** Rows that expire at or before this time (ms) are expired. */
  readonly tick: number;
  /** Bytes of all tables that are merged. */
  readonly mergeBytes: number;
  /** Bytes of all tables that are moved. */
  readonly moveBytes: number;
}

/** Whether a table holds neither deletes, operands nor expiry; undefined = not known without reading it. */
export type TableFacts = (sstId: Ulid) => { readonly isPlain: boolean } | undefined;
