/**
 * One running scan below the faces: synchronous while memory can answer, an effect where the store must.
 *
 * A row scan works on one captured view for all of its life; when that has to be exchanged, the scan is rebuilt behind
 * its last row.
 *
 * @module
 */
import { Effect } from "effect";
import type { DbError } from "../errors.ts";
import { END, type Move, type Need } from "../lsm/cursor.ts";
import type { ScanRange } from "../lsm/key_range.ts";
import { keyBytes } from "../lsm/key_range.ts";
import { makeEntry } from "../lsm/row_resolver.ts";
import type { ResultSlab } from "../lsm/result_slab.ts";
import { RowScan, type ScanProgress } from "../lsm/row_scan.ts";
import type { FoundRow, ReadSpec } from "../lsm/version_fold.ts";
import type { Bytes, Entry } from "./api.ts";
import type { ReadHost } from "./read_host.ts";
import { type Reader, surfaced } from "./reads.ts";
import { type WalkReads, WalkView } from "./walk_view.ts";

/** Hears what a scan answers, before its caller does. */
export interface ScanObserver {
  /** Whether it must not hear of more rows than the scan's reader has taken. */
  readonly isExact: boolean;
  /** Rows were answered, from `into[from]` on; it may replace them. */
  readonly onRows: (into: Entry[], from: number) => void;
  /** The range holds no more rows in the scan's direction. */
  readonly onEnd: () => void;
  /** The scan goes on at `key`. */
  readonly onSeek: (key: Uint8Array) => void;
}

/** How a scan runs. */
export interface ScanSettings extends WalkReads {
  readonly descending: boolean;
  /** Rows at most; Infinity = all. */
  readonly limit: number;
  readonly assertUsable: () => void;
  readonly observer?: ScanObserver | undefined;
}

/** The rows of a scan, batch by batch. */
export class ScanSource {
  readonly #slab: ResultSlab;
  readonly #view: WalkView;
  readonly #range: ScanRange;
  readonly #settings: ScanSettings;
  #scan: RowScan;
  #left: number;
  #ended = false;

  /** @param specNow what a read that starts now works with; asked again only while nothing was answered yet */
  constructor(reader: Reader, host: ReadHost, range: ScanRange, specNow: () => ReadSpec, settings: ScanSettings) {
    this.#slab = reader.slab;
    this.#view = new WalkView(reader, host, specNow, settings);
    this.#range = range;
    this.#settings = settings;
    this.#left = settings.limit;
    this.#scan = this.#open(undefined);
  }

  /**
   * Appends rows to `into` until it holds `max`; answers PENDING when the store must be asked first (rows appended
   * before that stay). @throws DbError; a store's or data's error stays with the scan.
   */
  fill(into: Entry[], max: number): Move {
    this.#settings.assertUsable();
    const before = into.length;
    const room = Math.min(max - before, this.#left);
    if (this.#ended || room <= 0) return END;
    this.#view.touch();
    let move: Move;
    try {
      move = this.#scan.fill(into, before + room);
    } catch (error) {
      this.#view.release();
      throw error;
    }
    this.#left -= into.length - before;
    if (into.length > before) {
      this.#settings.observer?.onRows(into, before);
      this.#view.isFresh = false;
    }
    if (move === END) this.#settings.observer?.onEnd();
    if (move === END || this.#left === 0) {
      this.close();
      return END;
    }
    return move;
  }

  /** How many rows to pull at a time on behalf of somebody who takes them one by one, if `many` would be cheapest. */
  rowsPerPull(many: number): number {
    return this.#settings.observer?.isExact === true ? 1 : many;
  }

  /** Fetches what a pending `fill` waits for. */
  readonly fetch: Effect.Effect<void, DbError> = Effect.suspend(() => {
    const needs: Need[] = [];
    this.#scan.collectNeeds(needs);
    const reopen = () => void (this.#scan = this.#open(this.#scan.progress));
    const fetched = Effect.tapError(this.#view.fetch(needs, reopen), (error) =>
      Effect.sync(() => {
        this.#view.release();
        this.#scan.poison(error);
      }));
    return surfaced(fetched);
  });

  /** Skips forward in scan order. @throws InvalidArgument for a key outside the range or behind the last row. */
  seek(key: Bytes): void {
    this.#settings.assertUsable();
    const target = keyBytes(key).slice();
    this.#scan.seek(target);
    this.#settings.observer?.onSeek(target);
  }

  /** Ends the scan. */
  close(): void {
    this.#ended = true;
    this.#view.release();
  }

  #open(after: ScanProgress | undefined): RowScan {
    const view = this.#view.capture();
    return new RowScan(view, this.#range, this.#view.spec, {
      order: this.#settings.descending ? "descending" : "ascending",
      expectedRows: this.#settings.limit === Infinity ? undefined : this.#settings.limit,
      readAheadBytes: this.#settings.readAheadBytes,
      slab: this.#slab,
      after,
    });
  }
}

/** The public entry of a found row. */
export function entryOf(key: Bytes, row: FoundRow): Entry {
  return makeEntry(keyBytes(key).slice(), row.value, row.seq, row.createTs, row.expireTs);
}
