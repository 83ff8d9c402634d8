/**
 * Brings parts of tables to this machine before somebody reads them, in the background and within bounds.
 *
 * At first, for the tables that `preload` names: index and filter into the memory that is theirs, and with a disk cache
 * everything a read can need onto the disk, as far as there is room. From then on index and filter of each table that a
 * newer version names, so that the first reads after a compaction do not wait for them (K-39). What does not fit is left
 * out, and looked at again when there is more room; nothing is evicted for it.
 *
 * A failure harms nobody and is told in the status until a later pass succeeds: with the next version, or after a wait
 * that doubles from {@linkcode RETRY_FIRST_MILLIS} on. A pass ends early when much of it fails. Without work and without
 * failures there is no timer: the fiber waits to be told of a newer version.
 *
 * @module
 */
import { Effect, type Scope } from "effect";
import { OneShot } from "../env/one_shot.ts";
import { DataError, type StoreError, textOf } from "../errors.ts";
import type { Levels } from "../lsm/lsm_view.ts";
import { FILTER_SLOT, INDEX_SLOT, RANGE_SLOT, type Table } from "../lsm/table.ts";
import { HeldParts, TableNeed } from "../lsm/table_parts.ts";
import type { TableStore } from "../lsm/table_store.ts";
import type { DiskCacheStore } from "../store/disk_cache.ts";
import type { Preload } from "./table_source.ts";

/** Tables brought at once. */
const TABLES_AT_ONCE = 4;
/** Of the memory for indexes and filters so much is left to those that reads ask for. */
const META_SHARE = 0.9;
/** Wait after a pass in which something failed, ms; it doubles with each such pass. */
export const RETRY_FIRST_MILLIS: number = 5_000;
/** Longest such wait, ms. */
export const RETRY_MAX_MILLIS: number = 600_000;
/** Failures after which a pass ends. */
const FAILURES_MAX = 8;

/** What the preloader works with. */
export interface PreloadSpec {
  readonly preload: Preload;
  readonly tables: TableStore;
  /** The tables of the newest version. */
  readonly levels: () => Levels;
  readonly cache: DiskCacheStore | undefined;
}

/** Brings the tables of one open database or reader. */
export class Preloader {
  /** Called when `trouble` changed. */
  onChange: () => void = () => {};
  readonly #spec: PreloadSpec;
  /** Tables whose index and filter were brought. */
  readonly #done: WeakSet<Table> = new WeakSet();
  /** Tables whose index and filter did not fit, and what the smallest of them need, bytes. */
  #refused: WeakSet<Table> = new WeakSet();
  #refusedBytes = Infinity;
  /** Tables that are on the disk. */
  readonly #warm: WeakSet<Table> = new WeakSet();
  #seen: Levels | undefined = undefined;
  #wake = new OneShot<never>();
  #isDiskWarm: boolean;
  #failures = 0;
  #retryMillis = RETRY_FIRST_MILLIS;
  #failure: string | undefined = undefined;
  #trouble: string | undefined = undefined;

  constructor(spec: PreloadSpec) {
    this.#spec = spec;
    this.#isDiskWarm = spec.cache === undefined;
  }

  /** Why a table could not be brought by the last pass; undefined when none failed. */
  get trouble(): string | undefined {
    return this.#trouble === undefined ? undefined : `Preloading a table failed: ${this.#trouble}`;
  }

  /** There may be a newer version. */
  changed(): void {
    if (this.#seen === undefined) return;
    const { l0, runs } = this.#spec.levels();
    if (this.#seen.l0 !== l0 || this.#seen.runs !== runs) this.#wake.succeed();
  }

  /** Begins, in the current scope, which ends it; does nothing with "none". */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() =>
    this.#spec.preload === "none" ? Effect.void : Effect.asVoid(Effect.forkScoped(this.#run))
  );

  readonly #run: Effect.Effect<never> = Effect.suspend(() => {
    this.#wake = new OneShot<never>();
    return Effect.flatMap(this.#pass, (isDone) => {
      if (isDone) {
        this.#retryMillis = RETRY_FIRST_MILLIS;
        return this.#wake.wait;
      }
      const millis = this.#retryMillis;
      this.#retryMillis = Math.min(2 * millis, RETRY_MAX_MILLIS);
      return Effect.asVoid(Effect.timeoutOption(this.#wake.wait, millis));
    });
  }).pipe(Effect.forever);

  /** Brings what is missing; false when a later pass has to go on. */
  get #pass(): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const levels = this.#spec.levels();
      this.#seen = levels;
      this.#failures = 0;
      this.#failure = undefined;
      return this.#each(this.#missing(levels), (table) => this.#meta(table)).pipe(
        Effect.andThen(Effect.suspend(() => this.#isDiskWarm ? Effect.void : this.#disk(levels))),
        Effect.map(() => {
          const before = this.#trouble;
          this.#trouble = this.#failure;
          if (this.#trouble !== before) this.onChange();
          return this.#failures === 0 && this.#isDiskWarm;
        }),
      );
    });
  }

  /** The tables that `preload` names, in the order in which they are brought. */
  *#named({ l0, runs }: Levels): Generator<Table> {
    for (const { table } of l0) yield table;
    if (this.#spec.preload === "l0") return;
    for (const run of runs) for (const { table } of run.tables) yield table;
  }

  /** Tables whose index and filter are to be brought: not those that did not fit, while there is no more room. */
  #missing(levels: Levels): Table[] {
    const room = this.#spec.tables.cache.metaRoom(META_SHARE);
    if (room >= this.#refusedBytes) {
      this.#refused = new WeakSet();
      this.#refusedBytes = Infinity;
    }
    const missing = new Set<Table>();
    for (const table of this.#named(levels)) {
      if (this.#done.has(table) || this.#refused.has(table)) continue;
      if (metaBytes(table) > room) this.#refuse(table);
      else missing.add(table);
    }
    return [...missing];
  }

  #refuse(table: Table): void {
    this.#refused.add(table);
    this.#refusedBytes = Math.min(this.#refusedBytes, metaBytes(table));
  }

  /** Brings index, filter and range tombstones, if they fit. */
  #meta(table: Table): Effect.Effect<void, DataError | StoreError> {
    return Effect.suspend(() => {
      const { tables } = this.#spec;
      if (tables.cache.metaRoom(META_SHARE) < metaBytes(table)) return Effect.sync(() => this.#refuse(table));
      const held = new HeldParts(false);
      const needs = [new TableNeed(table, INDEX_SLOT, held)];
      if (table.hasFilter) needs.push(new TableNeed(table, FILTER_SLOT, held));
      if (table.hasRanges) needs.push(new TableNeed(table, RANGE_SLOT, held));
      return Effect.map(tables.fetch(needs, { cache: true, purpose: "preload" }), () => void this.#done.add(table));
    });
  }

  /** Brings tables to the disk, in their order, until there is no more room. */
  #disk(levels: Levels): Effect.Effect<void> {
    const cache = this.#spec.cache!;
    let hasRoom = true;
    const warm = (table: Table) =>
      Effect.suspend(() => {
        if (table.dropped) return Effect.void;
        return Effect.map(cache.warm(table.path, table.readEnd), (fits) => {
          if (fits) this.#warm.add(table);
          else hasRoom = false;
        });
      });
    const tables = [...new Set(this.#named(levels))].filter((table) => !this.#warm.has(table));
    return Effect.map(this.#each(tables, warm, () => hasRoom), () => {
      // A folder that takes nothing just now has told so itself.
      this.#isDiskWarm = this.#failures === 0 && (hasRoom || cache.figures().trouble === undefined);
    });
  }

  /** Does `work` for each table, a few at once, until much of it has failed or nobody wants more. */
  #each(
    tables: readonly Table[],
    work: (table: Table) => Effect.Effect<void, DataError | StoreError>,
    isWanted: () => boolean = () => true,
  ): Effect.Effect<void> {
    let next = 0;
    const lane: Effect.Effect<void> = Effect.suspend(() => {
      if (next >= tables.length || this.#failures >= FAILURES_MAX || !isWanted()) return Effect.void;
      const table = tables[next++]!;
      return Effect.andThen(this.#guarded(table, work(table)), lane);
    });
    const lanes = Array.from({ length: Math.min(TABLES_AT_ONCE, tables.length) }, () => lane);
    return Effect.all(lanes, { concurrency: TABLES_AT_ONCE, discard: true });
  }

  #guarded(table: Table, work: Effect.Effect<void, DataError | StoreError>): Effect.Effect<void> {
    return Effect.catchCause(work, (cause) =>
      Effect.suspend(() => {
        // A table that a compaction has replaced meanwhile is nobody's business any more.
        if (cause.reasons.some((reason) => reason._tag === "Interrupt")) return Effect.interrupt;
        const error = cause.reasons.map((reason) => reason._tag === "Fail" ? reason.error : undefined)[0];
        if (table.dropped || (error instanceof DataError && error.reason === "missing-object")) return Effect.void;
        this.#failures++;
        this.#failure = textOf(error ?? cause);
        // Told at once: the rest of the pass may take long.
        if (this.#trouble === undefined) {
          this.#trouble = this.#failure;
          this.onChange();
        }
        return Effect.void;
      }));
  }
}

/** Memory that index, filter and range tombstones of a table take, at least. */
function metaBytes({ info: { indexLen, filterLen, rangeDeletes } }: Table): number {
  return indexLen + filterLen + (rangeDeletes?.length ?? 0);
}
