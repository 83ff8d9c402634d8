/**
 * The view that a running scan or cursor works on: captured once, held while it is in use, exchanged when it must be.
 *
 * When a table of the view was collected (compaction has rewritten it since), the walk goes over to the newer view at
 * the same sequence number. A writer protects that number for as long as the walk is in use (K-28), so the exchange is
 * exact; where nobody protects it and compaction has passed it, the walk fails instead of answering wrong.
 *
 * Invariant: V3 a walk answers the rows of its moment, each once, or fails typed, whatever was rewritten meanwhile.
 *
 * @module
 */
import { Effect } from "effect";
import { DataError } from "../errors.ts";
import type { Need } from "../lsm/cursor.ts";
import type { LsmView } from "../lsm/lsm_view.ts";
import type { ReadSpec } from "../lsm/version_fold.ts";
import type { ReadHold, ReadHost } from "./read_host.ts";
import { type Reader, viewExpired } from "./reads.ts";

/** How a walk reads tables. */
export interface WalkReads {
  /** Whether blocks enter the cache. */
  readonly cache: boolean;
  readonly readAheadBytes: number | undefined;
}

/** The view of one walk. */
export class WalkView {
  readonly #reader: Reader;
  readonly #host: ReadHost;
  readonly #specNow: () => ReadSpec;
  readonly #reads: WalkReads;
  #spec: ReadSpec;
  /** Number of the manifest version that the view shows. */
  #viewId = 0;
  #hold: ReadHold | undefined = undefined;
  #isReleased = false;
  /** Nothing was answered yet: the walk may as well start later. */
  isFresh = true;

  /** @param specNow what a read that starts now works with; asked again only while the walk is fresh */
  constructor(reader: Reader, host: ReadHost, specNow: () => ReadSpec, reads: WalkReads) {
    this.#reader = reader;
    this.#host = host;
    this.#specNow = specNow;
    this.#reads = reads;
    this.#spec = specNow();
  }

  /** What the walk sees. */
  get spec(): ReadSpec {
    return this.#spec;
  }

  /** Captures the view of this moment and holds what it needs. */
  capture(): LsmView {
    const view = this.#host.view(this.#spec);
    this.#viewId = this.#host.stored().id;
    // A walk that was ended while it went over to newer tables protects nothing any more.
    if (!this.#isReleased) this.#hold = this.#host.hold(this.#spec.maxSeq, this.#hold);
    return view;
  }

  /** Says that the walk is in use. */
  touch(): void {
    this.#hold?.touch();
  }

  /** Ends the hold, for good. */
  release(): void {
    this.#isReleased = true;
    this.#hold?.release();
    this.#hold = undefined;
  }

  /** Fetches `needs`; `reopen` is to go over to a newly captured view when a table is gone. Fails with what is final. */
  fetch(needs: ReadonlyArray<Need>, reopen: () => void): Effect.Effect<void, unknown> {
    // Nothing is missing: many hidden rows were passed, and others get a turn.
    if (needs.length === 0) return Effect.yieldNow;
    const { cache, readAheadBytes } = this.#reads;
    const options = {
      cache,
      purpose: "scan" as const,
      ...(readAheadBytes === undefined ? {} : { readAheadBytes }),
    };
    return this.#reader.bounded(Effect.catch(
      this.#host.tables.fetch(needs, options) as Effect.Effect<void, unknown>,
      (error) => this.#exchange(error, reopen),
    ));
  }

  #exchange(error: unknown, reopen: () => void): Effect.Effect<void, unknown> {
    if (!(error instanceof DataError) || error.reason !== "missing-object") return Effect.fail(error);
    const maxSeq = () => this.isFresh ? this.#specNow().maxSeq : this.#spec.maxSeq;
    return Effect.flatMap(this.#reader.newerView(maxSeq, error, this.#viewId), () => {
      // Asked once more: the state may have moved on since, and from here on nothing yields.
      const expired = viewExpired(this.#host, this.#host.stored(), maxSeq(), error);
      if (expired !== undefined) return Effect.fail(expired);
      if (this.isFresh) this.#spec = this.#specNow();
      reopen();
      return Effect.void;
    });
  }
}
