/**
 * What random histories are made of: numbers from a seed, keys that are close to each other, ranges, operations and
 * settings.
 *
 * @module
 */
import type { OpenOptions, ResolvedOptions } from "../../src/db/options.ts";
import type { KeyRange } from "../../src/db/api.ts";
import { bytesOf, type Op, type OpTtl, type Span, spanOfRange, type TextRange } from "./history_model.ts";

/** Numbers of a seed, well mixed: 32 bits of state. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** The next whole number, 0 <= x < below. */
  next(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % below;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.next(times) === 0;
  }

  /** One of `all`. */
  of<A>(all: readonly A[]): A {
    return all[this.next(all.length)]!;
  }
}

/** Prefixes of each other, zero bytes, bytes of 255, and a long common part. */
export const KEYS: readonly string[] = [
  "\0",
  "\0\0",
  "\0\xff",
  "a",
  "a\0",
  "a\0\0",
  "a\xff",
  "a\xff\xff",
  "aa",
  "aab",
  "ab",
  "b",
  "ba",
  "common/prefix/of/some",
  "common/prefix/of/some\0",
  "common/prefix/of/some/1",
  "common/prefix/of/some/2",
  "common/prefix/of/some/\xff",
  "d",
  "\xfe",
  "\xff",
  "\xff\0",
  "\xff\xff",
];

const OTHER_BOUNDS = [
  "A",
  "a\x80",
  "common/",
  "common/prefix/of/some/",
  "c",
  "common/prefix/of/some/1\0",
  "\xff\xff\xff",
];
const PREFIXES = ["a", "a\0", "a\xff", "common/prefix", "common/prefix/of/some/", "\xff", "\xff\xff", "\0", "b", "zz"];

/** A range, as callers give it and as `[start, end)`. */
export interface DrawnRange {
  readonly text: TextRange;
  readonly range: KeyRange;
  readonly span: Span;
}

function drawBounds(dice: Dice, keys: readonly string[]): TextRange {
  const bound = () => dice.once(5) ? dice.of(OTHER_BOUNDS) : dice.of(keys);
  const text: { -readonly [name in keyof TextRange]: TextRange[name] } = {};
  if (dice.once(6)) {
    text.prefix = dice.of(PREFIXES);
    if (!dice.once(3)) return text;
  }
  const narrow = dice.once(2) ? bound() : undefined;
  if (!dice.once(4)) text[dice.once(3) ? "gt" : "gte"] = dice.once(8) ? "" : narrow ?? bound();
  if (!dice.once(4)) {
    const near = narrow === undefined
      ? bound()
      : keys[Math.min(keys.indexOf(narrow) + 1 + dice.next(3), keys.length - 1)];
    text[dice.once(3) ? "lte" : "lt"] = near ?? bound();
  }
  return text;
}

/** A range that is not empty by its bounds. `bounded`: with one bound at least. */
export function drawRange(dice: Dice, keys: readonly string[], bounded: boolean): DrawnRange {
  for (let tries = 0; tries < 20; tries++) {
    const text = drawBounds(dice, keys);
    const span = spanOfRange(text);
    if (span === undefined || (bounded && Object.keys(text).length === 0)) continue;
    const range = Object.fromEntries(Object.entries(text).map(([name, key]) => [name, bytesOf(key)])) as KeyRange;
    return { text, range, span };
  }
  return { text: { gte: "" }, range: { gte: "" }, span: { start: "", end: undefined } };
}

/** What a history may make use of. */
export interface Features {
  readonly merge: boolean;
  readonly ranges: boolean;
  readonly ttl: boolean;
}

/** One operation at `now`; `label` makes its value unlike every other. */
export function drawOp(dice: Dice, keys: readonly string[], use: Features, now: number, label: string): Op {
  const n = dice.next(20);
  const key = dice.of(keys);
  if (n < 3) return { kind: "delete", key };
  if (n < 7 && use.ranges) {
    const { span, range } = drawRange(dice, keys, true);
    return { kind: "deleteRange", span, range };
  }
  const value = `${label}${"x".repeat(dice.once(3) ? dice.next(60) : 0)}.`;
  const kind = n < 11 && use.merge ? "merge" : "put";
  const ttl = use.ttl && dice.once(3) ? drawTtl(dice, now) : undefined;
  return ttl === undefined ? { kind, key, value } : { kind, key, value, ttl };
}

function drawTtl(dice: Dice, now: number): OpTtl {
  const millis = dice.of([0, 1, 1000, 5000, 60_000, 400_000]) + dice.next(3) * 500;
  return dice.once(2) ? { afterMillis: millis } : { atMillis: now + millis - (dice.once(5) ? 2000 : 0) };
}

/** Settings of one history: what callers can give, and sizes below what they may. */
export interface Settings {
  readonly options: OpenOptions;
  readonly internals: Partial<ResolvedOptions>;
  readonly latencyMillis: number;
  readonly keys: readonly string[];
  readonly use: Features;
  /** Whether what nothing reaches is deleted within seconds, which is sound only for a process alone. */
  readonly alone: boolean;
}

/** Settings of a history. */
export function drawSettings(dice: Dice): Settings {
  const alone = dice.once(3);
  const expand = dice.once(5);
  const keys = dice.once(3) ? KEYS.filter(() => dice.once(2)) : KEYS;
  const options: OpenOptions = {
    ttl: dice.once(3) ? "slatedb" : "strict",
    wal: !dice.once(4),
    rangeDeletes: expand ? "expand" : "native",
    l0SstSizeBytes: dice.of([300, 1024, 4096]),
    maxUnflushedBytes: 1_000_000,
    l0MaxSsts: dice.of([8, 8, 100]),
    flushIntervalMillis: dice.of([null, 100, 1000]),
    minFilterKeys: dice.of([1, 1, 1000]),
    blockCacheBytes: dice.of([0, 2000, 1_000_000]),
    compactor: dice.once(5) ? false : {
      scheduler: dice.of(["leveled", "size-tiered"] as const),
      minCompactionSources: 2 + dice.next(2),
      maxCompactionSources: 4,
      maxSstBytes: dice.of([200, 1024, 2048]),
      maxConcurrentCompactions: 1 + dice.next(4),
      levelBaseBytes: dice.of([400, 2000]),
      levelMultiplier: 2,
    },
    garbageCollector: dice.once(3) ? false : {
      intervalMillis: dice.of([2000, 60_000]),
      minAgeMillis: alone ? dice.of([0, 1000]) : 60_000,
      allowUnsafeAge: true,
    },
  };
  return {
    options,
    internals: { blockSizeBytes: dice.of([64, 128, 256, 1024]) },
    latencyMillis: !alone && dice.once(3) ? dice.of([5, 50, 300]) : 0,
    alone,
    keys: keys.length < 4 ? KEYS : keys,
    use: { merge: !dice.once(3), ranges: !dice.once(6), ttl: !dice.once(2) },
  };
}
