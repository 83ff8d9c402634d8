/**
 * One running scan below the faces: synchronous while memory can answer, an effect where the store must.
 *
 * A row scan works on one captured view for all of its life. When a table of that view was collected (the process slept,
 * or another engine compacted), the scan is rebuilt on the newer view behind its last row, at the same sequence number;
 * below that view's protection it fails instead of answering wrong.
 *
 * @module
 */
import { Effect } from "effect";
import { DataError, type DbError } from "../errors.ts";
import { END, type Move, type Need } from "../lsm/cursor.ts";
import type { ScanRange } from "../lsm/key_range.ts";
import { keyBytes } from "../lsm/key_range.ts";
import { makeEntry } from "../lsm/row_resolver.ts";
import { RowScan } from "../lsm/row_scan.ts";
import type { FoundRow, ReadSpec } from "../lsm/version_fold.ts";
import type { Bytes, Entry } from "./api.ts";
import type { ReadHold, ReadHost } from "./read_host.ts";
import { type Reader, surfaced, viewExpired } from "./reads.ts";

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
export interface ScanSettings {
  readonly descending: boolean;
  /** Rows at most; Infinity = all. */
  readonly limit: number;
  readonly readAheadBytes: number | undefined;
  /** Whether blocks enter the cache. */
  readonly cache: boolean;
  readonly assertUsable: () => void;
  readonly observer?: ScanObserver | undefined;
}

/** The rows of a scan, batch by batch. */
export class ScanSource {
  readonly #reader: Reader;
  readonly #host: ReadHost;
  readonly #range: ScanRange;
  readonly #specNow: () => ReadSpec;
  #spec: ReadSpec;
  readonly #settings: ScanSettings;
  #scan: RowScan;
  #left: number;
  /** Number of the manifest version that the scan's view shows. */
  #viewId = 0;
  /** Where a rebuilt scan goes on: behind the last row answered, or at the last key sought. */
  #resume: { readonly key: Uint8Array; readonly inclusive: boolean } | undefined = undefined;
  #ended = false;
  /** Nothing was answered yet: the scan may as well start now. */
  #isFresh = true;
  #hold: ReadHold | undefined = undefined;

  /** @param specNow what a read that starts now works with; asked again only while nothing was answered yet */
  constructor(reader: Reader, host: ReadHost, range: ScanRange, specNow: () => ReadSpec, settings: ScanSettings) {
    this.#reader = reader;
    this.#host = host;
    this.#range = range;
    this.#specNow = specNow;
    this.#spec = specNow();
    this.#settings = settings;
    this.#left = settings.limit;
    this.#scan = this.#open(range);
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
    this.#hold?.touch();
    const move = this.#scan.fill(into, before + room);
    this.#left -= into.length - before;
    if (into.length > before) {
      this.#settings.observer?.onRows(into, before);
      this.#resume = { key: into[into.length - 1]!.key, inclusive: false };
      this.#isFresh = false;
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
    const { tables } = this.#host;
    const options = {
      cache: this.#settings.cache,
      purpose: "scan" as const,
      ...(this.#settings.readAheadBytes === undefined ? {} : { readAheadBytes: this.#settings.readAheadBytes }),
    };
    return surfaced(this.#reader.bounded(Effect.catch(
      tables.fetch(needs, options) as Effect.Effect<void, unknown>,
      (error) => this.#afterFailure(error),
    )));
  });

  /** Skips forward in scan order. @throws InvalidArgument for a key outside the range or behind the last row. */
  seek(key: Bytes): void {
    this.#settings.assertUsable();
    const target = keyBytes(key).slice();
    this.#scan.seek(target);
    this.#settings.observer?.onSeek(target);
    this.#resume = { key: target, inclusive: true };
  }

  /** Ends the scan. */
  close(): void {
    this.#ended = true;
    this.#hold?.release();
  }

  #afterFailure(error: unknown): Effect.Effect<void, unknown> {
    if (!(error instanceof DataError) || error.reason !== "missing-object") return Effect.fail(this.#poisoned(error));
    const maxSeq = () => this.#isFresh ? this.#specNow().maxSeq : this.#spec.maxSeq;
    return this.#reader.newerView(maxSeq, error, this.#viewId).pipe(
      Effect.flatMap(() => {
        // Asked once more: the state may have moved on since, and from here on nothing yields.
        const expired = viewExpired(this.#host.stored(), maxSeq(), error);
        if (expired !== undefined) return Effect.fail(expired);
        if (this.#isFresh) this.#spec = this.#specNow();
        this.#scan = this.#open(this.#remaining());
        return Effect.void;
      }),
      Effect.mapError((final) => this.#poisoned(final)),
    );
  }

  #poisoned<E>(error: E): E {
    this.#hold?.release();
    this.#scan.poison(error);
    return error;
  }

  /** The part of the range that is still to come. */
  #remaining(): ScanRange {
    const resume = this.#resume;
    if (resume === undefined) return this.#range;
    return this.#settings.descending
      ? { ...this.#range, end: resume.key, endInclusive: resume.inclusive }
      : { ...this.#range, start: resume.key, startInclusive: resume.inclusive };
  }

  #open(range: ScanRange): RowScan {
    this.#hold?.release();
    this.#hold = this.#host.hold?.();
    this.#viewId = this.#host.stored().id;
    return new RowScan(this.#host.view(this.#spec), range, this.#spec, {
      order: this.#settings.descending ? "descending" : "ascending",
      expectedRows: this.#settings.limit === Infinity ? undefined : this.#settings.limit,
      readAheadBytes: this.#settings.readAheadBytes,
      slab: this.#reader.slab,
    });
  }
}

/** The public entry of a found row. */
export function entryOf(key: Bytes, row: FoundRow): Entry {
  return makeEntry(keyBytes(key).slice(), row.value, row.seq, row.createTs, row.expireTs);
}
