/**
 * Handler of `keyspan-interleaving_iter`: rows and the bounds of spans in one order.
 *
 * The engine keeps the two apart: cursors walk rows and ask what covers them. Here the bounds become rows above all
 * sequence numbers, and the engine's merging cursor brings them into one order with the points, both ways; which span is
 * over a row is asked as the cursor that leaves hidden rows out asks it. Bounds and seeks clip spans, as tables do.
 *
 * @module
 */
import { compareBytes } from "../../src/bytes/compare.ts";
import { NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { END } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { MergeCursor } from "../../src/lsm/merge_cursor.ts";
import { NOT_COVERED, RangeSet } from "../../src/lsm/range_set.ts";
import { RangeSpan, SetRanges } from "../../src/lsm/range_source.ts";
import { hasArgument, type PebbleSession } from "./pebble_files.ts";
import { behindPrefixOf, keyOf, kindOf, parseSpan, SpanKeys, textOf } from "./span_text.ts";

/** Number of a row that stands for the start of a span. */
const START = 2 ** 52;
/** Number of a row that stands for the end of a span: it comes before the start of the next one. */
const STOP = 2 ** 52 + 1;

type Key = Uint8Array;
type Bounds = { readonly lower: Key | undefined; readonly upper: Key | undefined };

/** A point as the file writes it: `key#seq,KIND`. */
interface Point {
  readonly key: Key;
  readonly seq: number;
  readonly text: string;
}

/** Handles `define-spans`, `define-pointkeys` and `iter`. */
export function interleaving(): PebbleSession {
  let keys = new SpanKeys([]);
  let spans = RangeSet.none;
  let points: Point[] = [];
  return {
    commands: {
      "define-spans": ({ input }) => {
        const parsed = input.map(parseSpan);
        keys = new SpanKeys(parsed);
        spans = RangeSet.of(keys.tombstones(parsed));
        return "OK";
      },
      "define-pointkeys": ({ input }) => {
        points = input.map((text) => {
          const [, key, seq] = /^(.*)#(\d+),\w+$/.exec(text.trim())!;
          return { key: keyOf(key!), seq: Number(seq), text: text.trim() };
        });
        return "OK";
      },
      iter: (block) => {
        const walk = new InterleavingWalk(keys, spans, points, hasArgument(block, "interleave-end-keys"));
        return block.input.flatMap((line) => walk.execute(line)).join("\n");
      },
    },
  };
}

/** One walk over points and spans. */
class InterleavingWalk {
  readonly #keys: SpanKeys;
  readonly #spans: RangeSet;
  readonly #points: ReadonlyArray<Point>;
  readonly #withEnds: boolean;
  #bounds: Bounds = { lower: undefined, upper: undefined };
  #isForward = true;
  /** Whether a seek clips what the walk goes over. */
  #isSeekClipped = false;
  /** What the walk goes over now: spans inside the bounds, and on the far side of the last seek. */
  #world: World;
  /** The span that was told last. */
  #told: string | undefined;
  #lines: string[] = [];

  constructor(keys: SpanKeys, spans: RangeSet, points: ReadonlyArray<Point>, withEnds: boolean) {
    this.#keys = keys;
    this.#spans = spans;
    this.#points = points;
    this.#withEnds = withEnds;
    this.#world = this.#worldIn(this.#bounds);
  }

  /** Executes an operation; answers its lines of output. */
  execute(line: string): string[] {
    this.#lines = [];
    const [operation, ...keys] = line.trim().split(/\s+/);
    if (operation === "set-bounds") {
      const [lower, upper] = keys.map((key) => key === "." ? undefined : keyOf(key));
      this.#bounds = { lower, upper };
      return [];
    }
    if (operation === "next" || operation === "prev" || operation === "next-prefix") this.#step(operation);
    else this.#position(operation!, keys[0] === undefined ? undefined : keyOf(keys[0]));
    this.#lines.push(this.#world.isOutside ? "." : `. ${this.#row()}`);
    return this.#lines;
  }

  #position(operation: string, key: Key | undefined): void {
    const { lower, upper } = this.#bounds;
    this.#isForward = operation === "first" || operation === "seek-ge";
    this.#forget();
    this.#isSeekClipped = key !== undefined;
    // A seek clips the spans, so that one around the key begins, or ends, there.
    this.#world = this.#worldIn(this.#isForward ? { lower: key ?? lower, upper } : { lower, upper: key ?? upper });
    const isBeyond = key !== undefined &&
      (this.#isForward
        ? upper !== undefined && compareBytes(key, upper) >= 0
        : lower !== undefined && compareBytes(key, lower) <= 0);
    if (isBeyond) return this.#world.leave();
    if (this.#isForward) this.#world.first();
    else this.#world.last();
    this.#tell();
  }

  #step(operation: "next" | "prev" | "next-prefix"): void {
    const isForward = operation !== "prev";
    const isTurn = isForward !== this.#isForward;
    if (isTurn) {
      this.#isForward = isForward;
      this.#forget();
    }
    if (isTurn && (this.#isSeekClipped || this.#world.isOutside)) {
      this.#isSeekClipped = false;
      const whole = this.#worldIn(this.#bounds);
      whole.placeLike(this.#world, isForward);
      this.#world = whole;
    } else if (operation === "next-prefix") this.#world.seekGE(behindPrefixOf(this.#world.key()));
    else if (isForward) this.#world.next();
    else this.#world.prev();
    this.#tell();
  }

  #forget(): void {
    this.#lines.push("# SpanChanged(nil)");
    this.#told = undefined;
  }

  /** Tells which span the walk is in, when it is another one. Going back, a span begins behind the row of its end. */
  #tell(): void {
    const world = this.#world;
    if (!world.isOutside && world.seq === STOP && !this.#isForward) {
      this.#told = undefined;
      return;
    }
    const span = world.isOutside ? undefined : this.#spanHere();
    if (span !== undefined && span === this.#told) return;
    this.#told = span;
    this.#lines.push(`# SpanChanged(${span ?? "nil"})`);
  }

  #row(): string {
    const { seq } = this.#world;
    const span = this.#spanHere();
    if (seq !== START && seq !== STOP) {
      return `${this.#world.point().text}: ${span ?? "(no span)"}`;
    }
    const [bounds, inside] = span!.split(":{");
    const key = seq === START ? textOf(this.#world.key()) : bounds!.split("-")[1];
    return `${key}#inf,${kindOf(inside!.slice(1, inside!.indexOf(")")))}: ${span}`;
  }

  /** The span over the row, as the bounds leave it. */
  #spanHere(): string | undefined {
    const { lower, upper } = this.#bounds;
    const clipped = this.#spans.clipped(lower, upper);
    const key = this.#world.key();
    if (this.#world.seq === STOP) {
      // The row stands where its span ends, or where the seek cut it off.
      const next = clipped.find(key);
      const isInside = next < clipped.count && compareBytes(clipped.start(next), key) < 0;
      return this.#keys.show(clipped, isInside ? next : next - 1);
    }
    const span = new RangeSpan();
    new SetRanges(clipped).spanAt(key, Infinity, false, span);
    return span.seq === NOT_COVERED ? undefined : this.#keys.show(clipped, clipped.find(span.lower!));
  }

  #worldIn(bounds: Bounds): World {
    const { lower, upper } = bounds;
    const isInside = ({ key }: Point) =>
      (lower === undefined || compareBytes(lower, key) <= 0) && (upper === undefined || compareBytes(key, upper) < 0);
    return new World(this.#spans.clipped(lower, upper), this.#points.filter(isInside), this.#withEnds);
  }
}

/** Points and the bounds of spans, merged. */
class World {
  isOutside = true;
  readonly #points: ReadonlyArray<Point>;
  readonly #cursor: MergeCursor;

  constructor(spans: RangeSet, points: ReadonlyArray<Point>, withEnds: boolean) {
    this.#points = points;
    const [bounds, rows] = [new Memtable(), new Memtable()];
    for (let i = 0; i < spans.count; i++) {
      insert(bounds, spans.start(i), START);
      if (withEnds) insert(bounds, spans.end(i)!, STOP);
    }
    for (const { key, seq } of points) insert(rows, key, seq);
    this.#cursor = new MergeCursor([bounds.cursor(), rows.cursor()]);
  }

  get seq(): number {
    return this.#cursor.seq;
  }

  key(): Key {
    const { keyBytes, keyStart, keyEnd } = this.#cursor;
    return keyBytes.slice(keyStart, keyEnd);
  }

  point(): Point {
    const key = this.key();
    return this.#points.find((one) => one.seq === this.seq && compareBytes(one.key, key) === 0)!;
  }

  first(): void {
    this.isOutside = this.#cursor.first() === END;
  }

  last(): void {
    this.isOutside = this.#cursor.last() === END;
  }

  seekGE(key: Key): void {
    this.isOutside = this.#cursor.seekGE(key) === END;
  }

  next(): void {
    this.isOutside = this.#cursor.next() === END;
  }

  prev(): void {
    this.isOutside = this.#cursor.prev() === END;
  }

  leave(): void {
    this.isOutside = true;
  }

  /** Steps from where `other` stands, which may be a row that is not here. */
  placeLike(other: World, isForward: boolean): void {
    if (other.isOutside) {
      if (isForward) this.first();
      else this.last();
      return;
    }
    const key = other.key();
    if (isForward) {
      this.seekGE(key);
      while (!this.isOutside && compareBytes(this.key(), key) === 0 && this.seq >= other.seq) this.next();
      return;
    }
    this.isOutside = this.#cursor.seekLT(Uint8Array.from([...key, 0])) === END;
    while (!this.isOutside && compareBytes(this.key(), key) === 0 && this.seq <= other.seq) this.prev();
  }
}

function insert(table: Memtable, key: Key, seq: number): void {
  table.insert(key, 0, key.length, seq, 0, NO_TICK, NO_EXPIRY, key, 0, 0);
}
