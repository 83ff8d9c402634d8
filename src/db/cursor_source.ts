/**
 * One open cursor below the faces: a move is synchronous while memory can answer it, else an effect.
 *
 * A move that needs the store is taken back and made again by the effect, so that nothing is half done between the two.
 * One effect runs at a time: who calls sees to the order. Until a move has its answer the cursor stands where it stood,
 * also when the effect is interrupted. An error of the store, of data or of the merge operator stays with the cursor; a
 * refused argument does not.
 *
 * @module
 */
import { Effect } from "effect";
import { Closed, type DbError } from "../errors.ts";
import { END, type Move, type Need, PENDING } from "../lsm/cursor.ts";
import type { ScanRange } from "../lsm/key_range.ts";
import type { ResultSlab } from "../lsm/result_slab.ts";
import { type CursorPlace, type CursorTask, RowCursor } from "../lsm/row_cursor.ts";
import type { ReadSpec } from "../lsm/version_fold.ts";
import { type Entry, NOT_CACHED } from "./api.ts";
import { asDbError } from "./failures.ts";
import type { ReadHost } from "./read_host.ts";
import { type Reader, surfaced } from "./reads.ts";
import { WalkView } from "./walk_view.ts";

/** Hears what a cursor looks at and answers, before its caller does. */
export interface MoveObserver {
  /** The keys from `lower` to below `upper` were looked at; undefined = unbounded. */
  readonly onLook: ((lower: Uint8Array | undefined, upper: Uint8Array | undefined) => void) | undefined;
  /** A row is answered; it may be replaced. */
  readonly onEntry: (entry: Entry) => Entry;
}

/** How a cursor works. */
export interface CursorSettings {
  /** Whether blocks enter the cache. */
  readonly cache: boolean;
  readonly assertUsable: () => void;
  readonly observer: MoveObserver | undefined;
}

/** An open cursor. */
export class CursorSource {
  /** What the last finished move answered. */
  current: Entry | undefined = undefined;
  readonly #view: WalkView;
  readonly #range: ScanRange;
  readonly #slab: ResultSlab;
  readonly #settings: CursorSettings;
  #rows: RowCursor;
  #poison: { readonly error: DbError } | undefined = undefined;
  #isClosed = false;

  /** @param specNow what a read that starts now works with; asked again only while nothing was answered yet */
  constructor(reader: Reader, host: ReadHost, range: ScanRange, specNow: () => ReadSpec, settings: CursorSettings) {
    this.#view = new WalkView(reader, host, specNow, { cache: settings.cache, readAheadBytes: undefined });
    // The moment of a cursor is that of its opening: what is written before its first move is not its own.
    this.#view.isFresh = false;
    this.#range = range;
    this.#slab = reader.slab;
    this.#settings = settings;
    this.#rows = this.#open(undefined);
  }

  /**
   * Makes a move if memory can answer it, else says NOT_CACHED and leaves the cursor where it was.
   *
   * @throws Closed, what poisoned the cursor, InvalidArgument "merge-operator-missing", what the operator throws
   */
  tryMove(task: CursorTask, key?: Uint8Array): Entry | undefined | typeof NOT_CACHED {
    this.#assertUsable();
    this.#view.touch();
    try {
      const move = this.#rows.move(task, key);
      return move === PENDING ? NOT_CACHED : this.#answer(move);
    } catch (error) {
      throw this.#poisoned(error);
    }
  }

  /** Makes a move, with I/O where needed. @param key a private copy */
  move(task: CursorTask, key?: Uint8Array): Effect.Effect<Entry | undefined, DbError> {
    const step = (): Move => this.#rows.move(task, key);
    const round = (go: () => Move): Effect.Effect<Entry | undefined, unknown> =>
      Effect.suspend(() => {
        this.#assertUsable();
        this.#view.touch();
        let move: Move;
        try {
          move = go();
          if (move !== PENDING) return Effect.succeed(this.#answer(move));
        } catch (error) {
          throw this.#poisoned(error);
        }
        const needs: Need[] = [];
        this.#rows.collectNeeds(needs);
        const rows = this.#rows;
        const reopen = () => void (this.#rows = this.#open(rows.at));
        const fetched = Effect.mapError(this.#view.fetch(needs, reopen), (error) => this.#poisoned(error));
        return Effect.flatMap(fetched, () => round(this.#rows === rows ? () => rows.resume() : step));
      });
    return surfaced(round(step));
  }

  /** Ends the cursor. @throws Closed when it has ended */
  close(): void {
    if (this.#isClosed) throw cursorClosed();
    this.release();
  }

  /** The same, for whoever does not know whether it has ended. */
  release(): void {
    this.#isClosed = true;
    this.current = undefined;
    this.#view.release();
  }

  /** Gives up what it holds: no move will be made any more. */
  letGo(): void {
    this.#view.release();
  }

  #answer(move: Move): Entry | undefined {
    const { observer } = this.#settings;
    if (observer?.onLook !== undefined) this.#rows.looked(observer.onLook);
    const entry = move === END ? undefined : this.#rows.entry!;
    this.current = entry === undefined || observer === undefined ? entry : observer.onEntry(entry);
    return this.current;
  }

  #assertUsable(): void {
    if (this.#isClosed) throw cursorClosed();
    this.#settings.assertUsable();
    if (this.#poison !== undefined) throw this.#poison.error;
  }

  #poisoned(cause: unknown): DbError {
    const error = asDbError(cause);
    this.#poison ??= { error };
    this.#view.release();
    return error;
  }

  #open(at: CursorPlace | undefined): RowCursor {
    const view = this.#view.capture();
    const traces = this.#settings.observer?.onLook !== undefined;
    return new RowCursor(view, this.#range, this.#view.spec, { slab: this.#slab, at, traces });
  }
}

function cursorClosed(): Closed {
  return new Closed({ reason: "clean", message: "Closed: the cursor was closed. Open another one to go on" });
}
