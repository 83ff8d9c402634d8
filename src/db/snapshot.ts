/**
 * A read view of one moment: a sequence number, its durable bound, and the promise that what it needs is kept.
 *
 * The durable bound is frozen at creation, so that durable reads inside a snapshot repeat (K-21); what is protected is
 * the smaller of the two.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { HELD_ALREADY } from "./read_host.ts";
import { Reader } from "./reads.ts";

/** An open snapshot of a database or reader, below its faces. */
export interface OpenSnapshot {
  /** Sequence number of the newest write that it sees. */
  readonly seq: number;
  readonly reader: Reader;
  /** Ends the view. A second release does nothing. */
  release(): void;
}

/** A snapshot of an open database. */
export class SnapshotView implements OpenSnapshot {
  readonly seq: number;
  readonly reader: Reader;
  readonly #unregister: () => void;
  #released = false;

  /** Takes the snapshot now. */
  constructor(engine: Engine) {
    const { sequencer, snapshots } = engine.parts.state;
    this.seq = sequencer.lastSeq;
    const durableSeq = sequencer.durableSeq;
    this.#unregister = snapshots.register(this.seq, durableSeq);
    this.reader = new Reader({ ...engine.readHost, hold: () => HELD_ALREADY }, {
      maxSeq: (durability) => durability === "durable" ? durableSeq : this.seq,
      assertUsable: () => {
        engine.assertOpen();
        if (this.#released) throw snapshotReleased();
      },
    });
  }

  /** Ends the view. A second release does nothing. */
  release(): void {
    this.#released = true;
    this.#unregister();
  }
}

/** The error of a read in a snapshot that has ended. */
export function snapshotReleased(): InvalidArgument {
  return new InvalidArgument({
    reason: "released",
    message: "Cannot read: the snapshot was released. Take a new one",
  });
}
