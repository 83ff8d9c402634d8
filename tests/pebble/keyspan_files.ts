/**
 * Handlers of the files about fragments: `keyspan-*`.
 *
 * All of them work on {@linkcode RangeSet}, which cuts, finds and counts what reads, flushes and compactions need. The
 * walks that these files make over fragments have no counterpart of their own in the engine; here they are steps from
 * one fragment of a set to the next.
 *
 * @module
 */
import { NOT_COVERED, RangeSet } from "../../src/lsm/range_set.ts";
import { RangeSpan, SetRanges } from "../../src/lsm/range_source.ts";
import { assert } from "../support/suite.ts";
import { interleaving } from "./keyspan_interleaving.ts";
import { visible } from "./keyspan_visible.ts";
import { seqsOver } from "../lsm/range_numbers.ts";
import { type PebbleBlock, type PebbleHandlers, type PebbleSession, valueOf } from "./pebble_files.ts";
import {
  behindPrefixOf,
  boundOf,
  draw,
  keyOf,
  kindOf,
  lastBelow,
  parseDrawn,
  parseSpan,
  SpanKeys,
  type SpanText,
  spanText,
  SpanWalk,
} from "./span_text.ts";

/** By file name. */
export const KEYSPAN_FILES: PebbleHandlers = {
  "keyspan-fragmenter": fragmenter,
  "keyspan-fragmenter_emit_order": emitOrder,
  "keyspan-get": get,
  "keyspan-seek": seek,
  "keyspan-iter": () => walking("."),
  "keyspan-visible": visible,
  "keyspan-visible_at": visible,
  "keyspan-bounded_iter": bounded,
  "keyspan-filtering_iter": filtering,
  "keyspan-interleaving_iter": interleaving,
  "keyspan-keyspanimpl-merging_iter": () => walking("<nil>"),
};

function fragmenter(): PebbleSession {
  let set = RangeSet.none;
  return {
    commands: {
      build: ({ input }) => {
        set = RangeSet.of(parseDrawn(input));
        return set.fragments().map(draw).join("\n");
      },
      get: (block) => {
        const maxSeq = Number(valueOf(block, "t")) - 1;
        return block.input.join(" ").trim().split(/\s+/).map((item) => {
          const [key, seq] = item.split("#");
          return set.seqOver(keyOf(key!), maxSeq) > Number(seq) ? "deleted" : "alive";
        }).join(" ");
      },
    },
  };
}

function emitOrder(): PebbleSession {
  return {
    commands: {
      build: ({ input }) => {
        const spans = input.map((line): SpanText => {
          const [, start, key, end] = /^([a-z]+)(#\d+,\w+) ([a-z]+)$/.exec(line)!;
          return { start: start!, end: end!, keys: [key!] };
        });
        const keys = new SpanKeys(spans);
        const set = RangeSet.of(keys.tombstones(spans));
        return Array.from({ length: set.count }, (_, i) => {
          const [bounds, inside] = keys.show(set, i).split(":{");
          return `${bounds!.replace("-", " ")}: ${inside!.slice(1, -2).replaceAll(") (", ", ")}\n-`;
        }).join("\n");
      },
    },
  };
}

/** Spans by a `define` block, each level after a line `--`. */
class Defined {
  readonly keys: SpanKeys;
  readonly #levels: ReadonlyArray<ReadonlyArray<SpanText>>;

  constructor(input: ReadonlyArray<string>) {
    const levels: SpanText[][] = [[]];
    for (const line of input) {
      if (line === "--") levels.push([]);
      else if (line.trim() !== "") levels.at(-1)!.push(parseSpan(line));
    }
    this.#levels = levels;
    this.keys = new SpanKeys(levels.flat());
  }

  /** The fragments of all levels, cut together; only of keys that `keep` leaves, where a span had any. */
  set(keep: (key: string) => boolean = () => true): RangeSet {
    return RangeSet.of(this.#levels.flatMap((spans) => {
      const left = spans.map((span) => ({ ...span, keys: span.keys.filter(keep) }));
      const some = left.filter(({ keys }, i) => keys.length > 0 || spans[i]!.keys.length === 0);
      return RangeSet.of(this.keys.tombstones(some)).fragments();
    }));
  }
}

function get(): PebbleSession {
  let defined = new Defined([]);
  return {
    commands: {
      define: ({ input }) => {
        defined = new Defined(input);
        return "";
      },
      get: ({ input }) => {
        const set = defined.set();
        return input.map((text) => {
          const key = keyOf(text.trim());
          const i = set.find(key);
          const isCovered = set.seqOver(key, Infinity) !== NOT_COVERED;
          return `Get("${text.trim()}") = ${isCovered ? defined.keys.show(set, i) : "<nil>"}`;
        }).join("\n");
      },
    },
  };
}

function seek(): PebbleSession {
  let set = RangeSet.none;
  const command = ({ name, input }: PebbleBlock): string =>
    input.map((line) => {
      const [key, seq] = line.trim().split(/\s+/);
      const { at } = new SpanWalk(set).move(`${name} ${key}`);
      if (at === undefined) return "<nil>";
      const seen = seqsOver(set, at).filter((one) => one <= newest(set, at, Number(seq) - 1));
      return spanText(set.start(at), set.end(at), seen.map((one) => `#${one},RANGEDEL`));
    }).join("\n");
  return {
    commands: {
      build: ({ input }) => {
        set = RangeSet.of(parseDrawn(input));
        return "";
      },
      "seek-ge": command,
      "seek-le": command,
    },
  };
}

/** The newest number that a walk up to `maxSeq` meets in fragment `i`: asked as scans ask. */
function newest(set: RangeSet, i: number, maxSeq: number): number {
  const span = new RangeSpan();
  new SetRanges(set).spanAt(set.start(i), maxSeq, false, span);
  assert.deepEqual([span.lower, span.upper, span.seq], [set.start(i), set.end(i), set.seqAt(i, maxSeq)]);
  return span.seq;
}

/** Walks over the fragments of all levels: they are cut together, as a compaction does. */
function walking(outside: string): PebbleSession {
  let defined = new Defined([]);
  return {
    commands: {
      define: ({ input }) => {
        defined = new Defined(input);
        return "";
      },
      iter: (block) => {
        const snapshot = valueOf(block, "snapshot");
        const maxSeq = snapshot === undefined ? undefined : boundOf(Number(snapshot));
        const set = defined.set();
        return walk(new SpanWalk(set), block.input, (i) => defined.keys.show(set, i, maxSeq), outside);
      },
    },
  };
}

function walk(
  spans: SpanWalk,
  operations: ReadonlyArray<string>,
  show: (i: number) => string,
  outside: string,
): string {
  return operations.map((operation) => {
    const { at } = spans.move(operation);
    return at === undefined ? outside : show(at);
  }).join("\n");
}

/** Bounds, and the prefix that a block set, are windows over the fragments: those that overlap are seen whole. */
function bounded(): PebbleSession {
  let defined = new Defined([]);
  let prefix: string | undefined;
  const window = (set: RangeSet, lower: Uint8Array | undefined, upper: Uint8Array | undefined) => ({
    low: lower === undefined ? 0 : set.find(lower),
    high: upper === undefined ? set.count : lastBelow(set, upper, false) + 1,
  });
  return {
    commands: {
      define: ({ input }) => {
        defined = new Defined(input);
        return "";
      },
      iter: (block) => {
        const [lower, upper] = ["lower", "upper"].map((name) => {
          const text = valueOf(block, name);
          return text === undefined ? undefined : keyOf(text);
        });
        const set = defined.set();
        const bounds = window(set, lower, upper);
        const inPrefix = prefix === undefined ? bounds : window(set, keyOf(prefix), behindPrefixOf(keyOf(prefix)));
        const spans = new SpanWalk(set, {
          low: Math.max(bounds.low, inPrefix.low),
          high: Math.min(bounds.high, inPrefix.high),
        });
        return walk(spans, block.input, (i) => defined.keys.show(set, i), "<nil>");
      },
    },
    skipped: (block) => {
      if (block.name === "set-prefix") prefix = block.args[0]?.key;
    },
  };
}

function filtering(): PebbleSession {
  let defined = new Defined([]);
  return {
    commands: {
      define: ({ input }) => {
        defined = new Defined(input);
        return "";
      },
      iter: (block) => {
        const filter = valueOf(block, "filter")!;
        const kind = filter === "no-op" ? undefined : `RANGEKEY${filter.replace("key-kind-", "").toUpperCase()}`;
        const set = defined.set((key) => kind === undefined || kindOf(key) === kind);
        return walk(new SpanWalk(set), block.input, (i) => defined.keys.show(set, i), ".");
      },
    },
  };
}
