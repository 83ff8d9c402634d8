/**
 * Brings parts of tables to this machine before somebody reads them, in the background and within bounds.
 *
 * At first, for the tables that `preload` names: index and filter into the memory that is theirs, and with a disk cache
 * everything a read can need onto the disk, as far as there is room. From then on index and filter of each table that a
 * newer version names, so that the first reads after a compaction do not wait for them (K-39). What does not fit is left
 * out; nothing is evicted for it. A failure harms nobody and is told in the status; the next version tries again.
 *
 * Without work there is no timer: the fiber waits to be told of a newer version.
 *
 * @module
 */
import { Effect, type Scope } from "effect";
import { OneShot } from "../env/one_shot.ts";
import { DataError, type StoreError, textOf } from "../errors.ts";
import type { Levels } from "../lsm/lsm_view.ts";
import { FILTER_SLOT, INDEX_SLOT, type Table } from "../lsm/table.ts";
import { HeldParts, TableNeed } from "../lsm/table_parts.ts";
import type { TableStore } from "../lsm/table_store.ts";
import type { DiskCacheStore } from "../store/disk_cache.ts";
import type { Preload } from "./table_source.ts";

/** Tables brought at once. */
const TABLES_AT_ONCE = 4;
/** Of the memory for indexes and filters so much is left to those that reads ask for. */
const META_SHARE = 0.9;

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
  #seen: Levels | undefined = undefined;
  #wake = new OneShot<never>();
  #isDiskWarm: boolean;
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
    return Effect.andThen(this.#pass, this.#wake.wait);
  }).pipe(Effect.forever);

  get #pass(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const levels = this.#spec.levels();
      this.#seen = levels;
      const refs = this.#spec.preload === "l0"
        ? levels.l0
        : [...levels.l0, ...levels.runs.flatMap((run) => run.tables)];
      const tables = new Set(refs.map((ref) => ref.table).filter((table) => !this.#done.has(table)));
      const before = this.#trouble;
      this.#trouble = undefined;
      const brought = Effect.forEach(tables, (table) => this.#guarded(table, this.#meta(table)), {
        concurrency: TABLES_AT_ONCE,
        discard: true,
      });
      return brought.pipe(
        Effect.andThen(Effect.suspend(() => this.#isDiskWarm ? Effect.void : this.#disk(tables))),
        Effect.andThen(Effect.sync(() => this.#trouble !== before && this.onChange())),
      );
    });
  }

  /** Brings index and filter, if they fit. */
  #meta(table: Table): Effect.Effect<void, DataError | StoreError> {
    return Effect.suspend(() => {
      const { tables } = this.#spec;
      const { indexLen, filterLen } = table.info;
      if (tables.cache.metaRoom(META_SHARE) < indexLen + filterLen) return Effect.void;
      const held = new HeldParts(false);
      const needs = [new TableNeed(table, INDEX_SLOT, held)];
      if (table.hasFilter) needs.push(new TableNeed(table, FILTER_SLOT, held));
      return Effect.map(tables.fetch(needs, { cache: true, purpose: "preload" }), () => void this.#done.add(table));
    });
  }

  /** Brings tables to the disk, in their order, until there is no more room. */
  #disk(tables: ReadonlySet<Table>): Effect.Effect<void> {
    this.#isDiskWarm = true;
    let hasRoom = true;
    return Effect.forEach(tables, (table) => {
      const warmed = Effect.suspend(() =>
        hasRoom && !table.dropped ? this.#spec.cache!.warm(table.path, table.readEnd) : Effect.succeed(hasRoom)
      );
      return this.#guarded(table, Effect.map(warmed, (fits) => void (hasRoom &&= fits)));
    }, { concurrency: TABLES_AT_ONCE, discard: true });
  }

  #guarded(table: Table, work: Effect.Effect<void, DataError | StoreError>): Effect.Effect<void> {
    return Effect.catchCause(work, (cause) =>
      Effect.suspend(() => {
        // A table that a compaction has replaced meanwhile is nobody's business any more.
        if (cause.reasons.some((reason) => reason._tag === "Interrupt")) return Effect.interrupt;
        const error = cause.reasons.map((reason) => reason._tag === "Fail" ? reason.error : undefined)[0];
        if (table.dropped || (error instanceof DataError && error.reason === "missing-object")) return Effect.void;
        this.#trouble = textOf(error ?? cause);
        return Effect.void;
      }));
  }
}
