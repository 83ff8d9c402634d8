/**
 * Cursors and scan iterators of random histories that stay open while everything moves on, each beside its place in the
 * model.
 *
 * @module
 */
import type { Entry, ScanIterator } from "../../src/db/api.ts";
import type { Cursor } from "../../src/db/cursor_api.ts";
import type { Dice } from "./history_draw.ts";
import { bytesOf, covers, type HistoryModel, keyOf, shownKey, type Span, type View } from "./history_model.ts";

/** What a walk reads from. */
export interface WalkSource {
  /** The snapshot, transaction, reader or database that it ends with. */
  readonly owner: object;
  readonly name: string;
  /** What it saw when it was opened. */
  readonly view: View;
  /** What it sees when it goes over to a newer state before its first answer. */
  readonly freshSeq: () => number;
  /** After so long without use nothing protects it any more, ms. */
  readonly leaseMillis: number;
  /** Notes what was looked at. */
  readonly looked: ((span: Span) => void) | undefined;
}

interface Way {
  readonly span: Span;
  readonly descending: boolean;
}

type Place = "fresh" | "before" | "after" | { readonly key: string };
/** A move and its target, which only seeks have. */
export interface Move {
  readonly kind: "first" | "last" | "next" | "prev" | "seekGE" | "seekLT";
  readonly key: string;
}

const later = (a: string, b: string): string => a > b ? a : b;
const earlier = (a: string, b: string | undefined): string => b === undefined || a < b ? a : b;
const EMPTY: Span = { start: "", end: "" };

/** What both kinds have in common: the view, and where the walk was last used. */
abstract class Walk {
  readonly source: WalkSource;
  readonly model: HistoryModel;
  /** It was not used for so long that nothing protects it any more. */
  isAbandoned = false;
  #usedAt: number;
  /** What it may be seeing; more than one as long as all answers are the same. */
  #views: readonly View[];
  #isFresh: boolean;

  /** @param mayGoOn whether it may begin on a newer state as long as it has answered nothing */
  constructor(model: HistoryModel, source: WalkSource, mayGoOn: boolean) {
    this.#isFresh = mayGoOn;
    this.model = model;
    this.source = source;
    this.#views = [source.view];
    this.#usedAt = source.view.to;
  }

  /** Says that it is used at time `now`. */
  use(now: number): void {
    if (now - this.#usedAt > this.source.leaseMillis) this.isAbandoned = true;
    this.#usedAt = now;
  }

  /** What is wrong with an answer at time `now`. */
  protected judge(way: Way, entry: Entry | undefined, now: number): string | undefined {
    if (way.span.start === way.span.end) return entry === undefined ? undefined : "it answers a row of nowhere";
    if (this.#isFresh) this.#views = [...this.#views, { ...this.source.view, maxSeq: this.source.freshSeq() }];
    this.#isFresh = false;
    const problems = this.#views.map((view) =>
      this.model.problem(way.span, way.descending, entry, { ...view, to: now })
    );
    const right = this.#views.filter((_, i) => problems[i] === undefined);
    if (right.length > 0) this.#views = right;
    const problem = right.length > 0 ? undefined : problems[0];
    const { start, end } = way.span;
    const found = entry === undefined ? undefined : keyOf(entry.key);
    this.source.looked?.(
      found === undefined ? way.span : way.descending ? { start: found, end } : { start, end: `${found}\0` },
    );
    return problem;
  }
}

/** A cursor and where it should stand. */
export class CursorWalk extends Walk {
  readonly #cursor: Cursor;
  readonly #range: Span;
  #place: Place = "fresh";

  constructor(cursor: Cursor, range: Span, model: HistoryModel, source: WalkSource) {
    super(model, source, false);
    this.#cursor = cursor;
    this.#range = range;
  }

  get name(): string {
    return `a cursor of ${this.source.name}`;
  }

  /** A random move, more often a short one. */
  draw(dice: Dice, keys: readonly string[]): Move {
    const kind = dice.of(
      ["next", "next", "next", "next", "prev", "prev", "prev", "seekGE", "seekLT", "first", "last"] as const,
    );
    return { kind, key: dice.of(keys) };
  }

  /** Makes a move. */
  go({ kind, key }: Move): Promise<Entry | undefined> {
    return kind === "seekGE" || kind === "seekLT" ? this.#cursor[kind](bytesOf(key)) : this.#cursor[kind]();
  }

  /** What is wrong with the answer of a move; the place in the model moves too. */
  check(move: Move, entry: Entry | undefined, now: number): string | undefined {
    const way = this.#way(move);
    const { descending } = way;
    const problem = this.judge(way, entry, now);
    this.#place = entry === undefined ? descending ? "before" : "after" : { key: keyOf(entry.key) };
    return problem;
  }

  /** What is wrong with `current` when nothing is under way. */
  checkCurrent(entry: Entry | undefined): string | undefined {
    const is = entry === undefined ? undefined : keyOf(entry.key);
    const should = typeof this.#place === "string" ? undefined : this.#place.key;
    return is === should ? undefined : `current is ${shownKey(is)}, not ${shownKey(should)}`;
  }

  get current(): Entry | undefined {
    return this.#cursor.current;
  }

  close(): Promise<void> {
    return this.#cursor.close();
  }

  #way({ kind, key }: Move): Way {
    const { start, end } = this.#range;
    const place = this.#place;
    const descending = kind === "last" || kind === "prev" || kind === "seekLT";
    if (kind === "seekGE") {
      return { span: end !== undefined && key >= end ? EMPTY : { start: later(key, start), end }, descending };
    }
    if (kind === "seekLT") return { span: key <= start ? EMPTY : { start, end: earlier(key, end) }, descending };
    if (kind === "next" && place === "after") return { span: EMPTY, descending };
    if (kind === "prev" && place === "before") return { span: EMPTY, descending };
    if (typeof place === "string" || kind === "first" || kind === "last") return { span: this.#range, descending };
    return { span: descending ? { start, end: place.key } : { start: `${place.key}\0`, end }, descending };
  }
}

/** A scan that is iterated row by row. */
export class ScanWalk extends Walk {
  readonly #iterator: ScanIterator;
  readonly #descending: boolean;
  #rest: Span;
  #left: number;
  #ended = false;

  constructor(
    iterator: ScanIterator,
    how: { readonly range: Span; readonly descending: boolean; readonly limit: number | undefined },
    model: HistoryModel,
    source: WalkSource,
  ) {
    super(model, source, true);
    this.#iterator = iterator;
    this.#rest = how.range;
    this.#descending = how.descending;
    this.#left = how.limit ?? Infinity;
  }

  get name(): string {
    return `a ${this.#descending ? "descending " : ""}scan of ${this.source.name}`;
  }

  /** Fetches the next row. */
  next(): Promise<Entry | undefined> {
    return this.#iterator.next();
  }

  /** What is wrong with the next row. */
  check(entry: Entry | undefined, now: number): string | undefined {
    if (this.#ended || this.#left === 0) {
      this.#ended = true;
      return entry === undefined ? undefined : `it answers ${shownKey(keyOf(entry.key))} after its end`;
    }
    const { start, end } = this.#rest;
    const problem = this.judge({ span: this.#rest, descending: this.#descending }, entry, now);
    this.#left--;
    if (entry === undefined) this.#ended = true;
    else {
      const key = keyOf(entry.key);
      this.#rest = this.#descending ? { start, end: key } : { start: `${key}\0`, end };
    }
    return problem;
  }

  /** A key that can be sought now, if there is one. */
  target(dice: Dice, keys: readonly string[]): string | undefined {
    if (this.#ended || this.#left === 0) return undefined;
    const inside = keys.filter((key) => covers(this.#rest, key));
    return inside.length === 0 ? undefined : dice.of(inside);
  }

  /** Goes on at `key`. */
  async seek(key: string): Promise<void> {
    await this.#iterator.seek(bytesOf(key));
    const { start, end } = this.#rest;
    this.#rest = this.#descending ? { start, end: `${key}\0` } : { start: key, end };
  }

  close(): Promise<void> {
    return this.#iterator.return();
  }
}
