/**
 * Reads inside a transaction: the state of its beginning, its own writes on top, and a note of everything looked at.
 *
 * @module
 */
import { Effect } from "effect";
import { type DbError, InvalidArgument } from "../errors.ts";
import { NO_TICK } from "../format/types.ts";
import { keyBytes, type ScanRange } from "../lsm/key_range.ts";
import type { LsmView } from "../lsm/lsm_view.ts";
import type { ResultSlab } from "../lsm/result_slab.ts";
import type { FoundRow, ReadSpec } from "../lsm/version_fold.ts";
import type { ReadSet } from "../state/read_set.ts";
import { type Bytes, type Entry, NOT_CACHED, type ReadOptions } from "./api.ts";
import { type OwnSpec, type OwnWrites, viewWith } from "./own_writes.ts";
import { HELD_ALREADY, type ReadHost } from "./read_host.ts";
import { type ReadBounds, Reader } from "./reads.ts";
import type { MoveObserver } from "./cursor_source.ts";
import type { ScanObserver } from "./scan_source.ts";

/** What reads of one transaction work with. */
export interface TransactionReadParts {
  readonly host: ReadHost;
  readonly bounds: ReadBounds;
  readonly slab: ResultSlab;
  /** Its own writes above what a read of a durability sees. */
  readonly own: (durability: ReadOptions["durability"]) => OwnWrites;
  /** Where reads are noted; undefined when they do not matter. */
  readonly reads: ReadSet | undefined;
}

/** Reads of one transaction. */
export class TransactionReader extends Reader {
  readonly #parts: TransactionReadParts;

  constructor(parts: TransactionReadParts) {
    super({ ...parts.host, view: composedViews(parts.host), hold: () => HELD_ALREADY }, parts.bounds, parts.slab);
    this.#parts = parts;
  }

  override tryGet(key: Bytes, options?: ReadOptions): FoundRow | undefined | typeof NOT_CACHED {
    this.#note(key);
    const row = super.tryGet(key, options);
    return row === NOT_CACHED ? row : withoutOwnNumber(row);
  }

  override fetch(key: Bytes, options?: ReadOptions): Effect.Effect<FoundRow | undefined, DbError> {
    return Effect.map(super.fetch(key, options), withoutOwnNumber);
  }

  override fetchMany(
    keys: ReadonlyArray<Bytes>,
    options?: ReadOptions,
  ): Effect.Effect<Array<FoundRow | undefined>, DbError> {
    return Effect.map(super.fetchMany(keys, options), (rows) => rows.map(withoutOwnNumber));
  }

  override spec(options: ReadOptions | undefined, known?: ReadonlySet<string>): ReadSpec {
    return this.#spec(options, known, false);
  }

  protected override specs(options: ReadOptions | undefined, known: ReadonlySet<string>): () => ReadSpec {
    const spec = this.#spec(options, known, true);
    return () => spec;
  }

  protected override onFetch(keys: ReadonlyArray<Uint8Array>): void {
    const { reads } = this.#parts;
    if (reads !== undefined) { for (const key of keys) reads.addKey(key); }
  }

  protected override observer(range: ScanRange, descending: boolean): ScanObserver {
    const trace = this.#parts.reads?.scan(range, descending);
    return {
      isExact: trace !== undefined,
      onRows: (into, from) => {
        hideOwnNumbers(into, from);
        trace?.reached(into[into.length - 1]!.key);
      },
      onEnd: () => trace?.ended(),
      onSeek: (key) => trace?.sought(key),
    };
  }

  protected override moveObserver(): MoveObserver {
    return { onLook: this.#parts.reads?.cursor(), onEntry: withoutOwnNumbers };
  }

  #spec(options: ReadOptions | undefined, known: ReadonlySet<string> | undefined, lasts: boolean): OwnSpec {
    const base = super.spec(options, known);
    if (this.#parts.reads !== undefined && options?.durability === "durable") throw notSerializable();
    return this.#parts.own(options?.durability).spec(base, lasts);
  }

  #note(key: Bytes): void {
    const { reads, bounds } = this.#parts;
    if (reads === undefined) return;
    bounds.assertUsable();
    reads.addKey(keyBytes(key));
  }
}

/** Own memtable over the host's view; composed anew only when one of them has changed. */
function composedViews(host: ReadHost): (spec: ReadSpec) => LsmView {
  let base: LsmView | undefined;
  let own: OwnSpec["own"];
  let composed: LsmView | undefined;
  return (spec) => {
    const current = host.view(spec);
    const ownSpec = spec as OwnSpec;
    if (composed === undefined || current !== base || ownSpec.own !== own) {
      base = current;
      own = ownSpec.own;
      composed = viewWith(current, ownSpec);
    }
    return composed;
  };
}

/** The numbers of own writes lie between two whole ones and mean nothing to a caller. */
function withoutOwnNumber(row: FoundRow | undefined): FoundRow | undefined {
  if (row !== undefined && !Number.isInteger(row.seq)) {
    row.seq = 0;
    row.createTs = NO_TICK;
  }
  return row;
}

function hideOwnNumbers(into: Entry[], from: number): void {
  for (let i = from; i < into.length; i++) into[i] = withoutOwnNumbers(into[i]!);
}

function withoutOwnNumbers(entry: Entry): Entry {
  return Number.isInteger(entry.seq) ? entry : { ...entry, seq: 0, createdAt: 0 };
}

/** What lies between the durable bound and the beginning of a transaction is not watched: it may be in the way. */
function notSerializable(): InvalidArgument {
  return new InvalidArgument({
    reason: "durability",
    message: "Cannot read what is durable in a serializable transaction: it would look behind the transaction's own " +
      'beginning. Leave durability out, or begin with isolation "snapshot"',
  });
}
