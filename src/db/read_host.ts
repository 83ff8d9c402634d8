/**
 * What reads need of whoever holds the state they read: an open writer or a reader.
 *
 * @module
 */
import type { Effect } from "effect";
import type { FoldMerge } from "../lsm/merge_operator.ts";
import type { LsmView } from "../lsm/lsm_view.ts";
import type { TableStore } from "../lsm/table_store.ts";
import type { ReadSpec } from "../lsm/version_fold.ts";
import type { StoredManifest } from "../state/manifest_store.ts";
import type { TtlMode } from "./api.ts";
import type { Runtime } from "./runtime.ts";

/** Keeps what a running scan or cursor reads, where whoever holds the state can do that. */
export interface ReadHold {
  /** Says that the iterator is in use. */
  readonly touch: () => void;
  /** The iterator has ended. */
  readonly release: () => void;
}

/** The hold of reads that somebody else protects until they are over: a snapshot, a transaction. */
export const HELD_ALREADY: ReadHold = { touch: () => {}, release: () => {} };

/** The holder of a state that can be read. */
export interface ReadHost {
  readonly runtime: Runtime;
  readonly tables: TableStore;
  readonly merge: FoldMerge | undefined;
  /** How reads treat expired rows unless they say otherwise. */
  readonly ttl: TtlMode;
  /** How long the store may leave a read without an answer, ms. */
  readonly requestTimeoutMillis: number;
  /** The capture that a read with `spec` works on; never changes once taken. */
  readonly view: (spec: ReadSpec) => LsmView;
  /** The manifest version that the view shows. */
  readonly stored: () => StoredManifest;
  /** The time a read judges expiry by, never before an earlier read's. */
  readonly readTime: (nowMillis: number) => number;
  /** Whether whoever writes keeps what reads at `seq` need. */
  readonly protects: (seq: number) => boolean;
  /** Looks for a newer manifest version and takes it over, so that `view` shows it. */
  readonly refresh: Effect.Effect<StoredManifest, unknown>;
  /**
   * Holds what a read at `seq` in the view of this moment needs.
   *
   * @param former what the same read held before, to be released or gone on with
   */
  readonly hold: (seq: number, former: ReadHold | undefined) => ReadHold;
}
