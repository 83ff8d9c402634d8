/**
 * A snapshot on a reader: a capture of its own that stays as it is while the reader goes on.
 *
 * A managed reader keeps the capture's checkpoint until the snapshot is released. Where nothing keeps the tables (a
 * follower, a checkpoint that lapsed) a missing one is looked for in the reader's newer state, at the same sequence
 * number; that is exact as long as compaction protected the number. Below it the snapshot keeps its old capture, and
 * what needs a missing table fails: it never answers from a state that may lack its versions.
 *
 * @module
 */
import { Effect } from "effect";
import type { StoredManifest } from "../state/manifest_store.ts";
import type { GenerationHold, ReaderCapture, ReaderState } from "../state/reader_state.ts";
import type { ReadHost } from "./read_host.ts";
import { exactFrom, Reader } from "./reads.ts";
import { type OpenSnapshot, snapshotReleased } from "./snapshot.ts";

/** A snapshot of an open reader. */
export class ReaderSnapshot implements OpenSnapshot {
  readonly seq: number;
  readonly reader: Reader;
  readonly #state: ReaderState;
  #capture: ReaderCapture;
  #hold: GenerationHold;
  #released = false;

  /** Takes the snapshot now. */
  constructor(state: ReaderState, host: ReadHost, assertOpen: () => void) {
    this.#state = state;
    this.#capture = state.capture;
    this.#hold = state.hold(this.#capture, true);
    this.seq = this.#capture.seq;
    const own: ReadHost = {
      ...host,
      view: () => this.#capture.view,
      stored: () => this.#capture.stored,
      refresh: Effect.map(host.refresh, () => this.#renewed()),
      hold: (_seq, former) => {
        former?.release();
        return state.hold(this.#capture, false);
      },
    };
    this.reader = new Reader(own, {
      maxSeq: () => this.seq,
      assertUsable: () => {
        assertOpen();
        if (this.#released) throw snapshotReleased();
      },
    });
  }

  /** Ends the view. A second release does nothing. */
  release(): void {
    this.#released = true;
    this.#hold.release();
  }

  /** Goes over to the reader's newer capture if that is exact for this snapshot; answers the newest version either way. */
  #renewed(): StoredManifest {
    const newer = this.#state.capture;
    if (!this.#released && this.seq >= exactFrom(newer.stored.manifest, false)) {
      this.#hold.release();
      this.#capture = newer;
      this.#hold = this.#state.hold(newer, true);
    }
    return newer.stored;
  }
}
