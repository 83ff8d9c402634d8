/**
 * What random histories are judged by: a list of commits in their order, and answers computed by definition.
 *
 * Keys are text with one character per byte, so that comparing text is comparing bytes. What a key holds is the set of
 * answers that are right: one as a rule, more where time passed during the read, or where SlateDB's rule of expiry lets
 * a rewrite decide. Nothing here knows of memtables, tables or compaction.
 *
 * @module
 */
import type { Entry, KeyRange } from "../../src/db/api.ts";

/** Keys at or after `start`, before `end`; undefined: to the last. */
export interface Span {
  readonly start: string;
  readonly end: string | undefined;
}

/** One operation of a batch or transaction. */
export type Op =
  | { readonly kind: "put" | "merge"; readonly key: string; readonly value: string; readonly ttl?: OpTtl }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "deleteRange"; readonly span: Span; readonly range: KeyRange };

/** How long an operation's row lives; absent: for ever. */
export type OpTtl = { readonly afterMillis: number } | { readonly atMillis: number };

/** What one commit does to one key. */
interface KeyRow {
  readonly kind: "value" | "merge" | "gone";
  readonly value: string;
  readonly expiresAt: number;
}

/** The same with the number and time of the commit. */
interface Version extends KeyRow {
  readonly seq: number;
  readonly createdAt: number;
}

/** What a read sees: commits up to a number, operations of its own on top, at some time of an interval. */
export interface View {
  readonly maxSeq: number;
  readonly own?: readonly Op[] | undefined;
  /** Earliest and latest time at which the read may have looked, ms since 1970. */
  readonly from: number;
  readonly to: number;
}

/** One commit. */
export interface Commit {
  readonly seq: number;
  /** Keys and ranges that others conflict with. */
  readonly keys: ReadonlySet<string>;
  readonly spans: readonly Span[];
}

const NEVER = Infinity;

/** The bytes of a key. */
export function bytesOf(key: string): Uint8Array {
  return Uint8Array.from(key, (unit) => unit.charCodeAt(0));
}

/** The key of bytes. */
export function keyOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** A key as messages show it. */
export function shownKey(key: string | undefined): string {
  return key === undefined
    ? "end"
    : JSON.stringify(key).slice(1, -1).replaceAll("\\u00", "\\x").replaceAll("ÿ", "\\xff");
}

/** The first key after every key that starts with `prefix`; undefined when there is none. */
function afterPrefix(prefix: string): string | undefined {
  const stem = prefix.replace(/\u00ff+$/, "");
  return stem === "" ? undefined : stem.slice(0, -1) + String.fromCharCode(stem.charCodeAt(stem.length - 1) + 1);
}

/** The text of a range's bounds. */
export type TextRange = { readonly [name in keyof KeyRange]?: string };

/** A range as `[start, end)`; undefined when no key can lie inside by its bounds. */
export function spanOfRange({ gte, gt, lte, lt, prefix }: TextRange): Span | undefined {
  const starts = [gte ?? "", gt === undefined ? "" : `${gt}\0`, prefix ?? ""];
  const ends = [lt, lte === undefined ? undefined : `${lte}\0`, prefix === undefined ? undefined : afterPrefix(prefix)]
    .filter((end) => end !== undefined);
  const start = starts.reduce((a, b) => a > b ? a : b);
  const end = ends.length === 0 ? undefined : ends.reduce((a, b) => a < b ? a : b);
  return end !== undefined && start >= end ? undefined : { start, end };
}

/** Whether `key` lies in the span. */
export function covers({ start, end }: Span, key: string): boolean {
  return key >= start && (end === undefined || key < end);
}

/** Whether two spans share a key. */
export function overlap(a: Span, b: Span): boolean {
  return (b.end === undefined || a.start < b.end) && (a.end === undefined || b.start < a.end);
}

/** What operations under one number do to `key`: they fold in their order, the earliest expiry holds for the result. */
function folded(ops: readonly Op[], key: string, now: number): KeyRow | undefined {
  let row: KeyRow | undefined;
  for (const op of ops) {
    if (op.kind === "deleteRange") {
      if (covers(op.span, key)) row = { kind: "gone", value: "", expiresAt: NEVER };
    } else if (op.key === key) {
      const expiresAt = op.kind === "delete" || op.ttl === undefined
        ? NEVER
        : "atMillis" in op.ttl
        ? op.ttl.atMillis
        : now + op.ttl.afterMillis;
      if (op.kind === "delete") row = { kind: "gone", value: "", expiresAt: NEVER };
      else if (op.kind === "put") row = { kind: "value", value: op.value, expiresAt };
      else {
        row = {
          kind: row === undefined || row.kind === "merge" ? "merge" : "value",
          value: (row?.value ?? "") + op.value,
          expiresAt: Math.min(row?.expiresAt ?? NEVER, expiresAt),
        };
      }
    }
  }
  return row;
}

/** Operations without those that a later range of the same commit takes back. */
export function lasting(ops: readonly Op[]): Op[] {
  return ops.filter((op, i) =>
    op.kind === "deleteRange" ||
    !ops.slice(i + 1).some((later) => later.kind === "deleteRange" && covers(later.span, op.key))
  );
}

/** A row as it is compared: value, number, times. */
interface Shown {
  readonly value: string;
  readonly seq: number;
  readonly createdAt: number;
  readonly expiresAt: number;
}

const ABSENT = "-";

function told(shown: Shown | undefined): string {
  if (shown === undefined) return ABSENT;
  const { value, seq, createdAt, expiresAt } = shown;
  return `${value} @${seq} ${createdAt}${expiresAt === NEVER ? "" : ` until ${expiresAt}`}`;
}

/** The same of a row that the engine answered. */
export function toldEntry(entry: Entry | undefined): string {
  if (entry === undefined) return ABSENT;
  const { value, seq, createdAt, expiresAt } = entry;
  return told({ value: keyOf(value), seq, createdAt, expiresAt: expiresAt ?? NEVER });
}

/** The states that are possible after one more version. */
function after(states: readonly (Shown | undefined)[], version: Version, view: View, strict: boolean) {
  const { kind, value, seq, createdAt, expiresAt } = version;
  const mayBeDead = expiresAt <= view.to;
  const mayBeAlive = !strict || expiresAt > view.from;
  const next = new Map<string, Shown | undefined>();
  const add = (shown: Shown | undefined) => next.set(told(shown), shown);
  for (const state of states) {
    if (kind === "gone") add(undefined);
    else {
      if (mayBeDead) add(kind === "merge" ? state : undefined);
      if (!mayBeAlive) continue;
      if (kind === "value" || state === undefined) add({ value, seq, createdAt, expiresAt });
      else add({ value: state.value + value, seq, createdAt, expiresAt: Math.min(state.expiresAt, expiresAt) });
    }
  }
  return [...next.values()];
}

/** Everything that was committed to one database. */
export class HistoryModel {
  /** Every key that can be written, in order. */
  readonly keys: readonly string[];
  /** Whether expired rows are hidden by reads. */
  readonly strict: boolean;
  #versions = new Map<string, Version[]>();
  #commits: Commit[] = [];
  #lastSeq = 0;

  constructor(keys: readonly string[], strict: boolean) {
    this.keys = [...keys].sort((a, b) => a < b ? -1 : 1);
    this.strict = strict;
    for (const key of this.keys) this.#versions.set(key, []);
  }

  /** Number of the newest commit. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Takes a commit; `exempt` keys are left out of conflicts. */
  commit(ops: readonly Op[], seq: number, createdAt: number, exempt: ReadonlySet<string> = new Set()): void {
    this.#lastSeq = seq;
    for (const [key, versions] of this.#versions) {
      const row = folded(ops, key, createdAt);
      if (row !== undefined) versions.push({ ...row, seq, createdAt });
    }
    const keys = new Set<string>();
    const spans: Span[] = [];
    for (const op of lasting(ops)) {
      if (op.kind === "deleteRange") spans.push(op.span);
      else if (!exempt.has(op.key)) keys.add(op.key);
    }
    this.#commits.push({ seq, keys, spans });
  }

  /** Forgets every commit after `seq`: they were lost. */
  truncate(seq: number): void {
    this.#lastSeq = Math.min(this.#lastSeq, seq);
    this.#commits = this.#commits.filter((one) => one.seq <= seq);
    for (const [key, versions] of this.#versions) this.#versions.set(key, versions.filter((one) => one.seq <= seq));
  }

  /** Commits after `seq`. */
  since(seq: number): readonly Commit[] {
    return this.#commits.filter((one) => one.seq > seq);
  }

  /** What a read of `key` may answer, as `toldEntry` tells it. */
  possible(key: string, view: View): ReadonlySet<string> {
    let states: (Shown | undefined)[] = [undefined];
    for (const version of this.#versions.get(key) ?? []) {
      if (version.seq <= view.maxSeq) states = after(states, version, view, this.strict);
    }
    for (const op of view.own ?? []) {
      // Until the commit folds them, own operations live as long as each says itself; they have no number and no time.
      const row = folded([op], key, NEVER);
      if (row !== undefined) states = after(states, { ...row, seq: 0, createdAt: 0 }, view, this.strict);
    }
    return new Set(states.map(told));
  }

  /** Whether a read of `key` may find nothing. */
  mayBeAbsent(key: string, view: View): boolean {
    return this.possible(key, view).has(ABSENT);
  }

  /** Keys of the span that certainly have a value. */
  certain(span: Span, view: View): string[] {
    return this.keys.filter((key) => covers(span, key) && !this.mayBeAbsent(key, view));
  }

  /** What is wrong with a step that went through `span` and answered `entry`, undefined when nothing is. */
  problem(span: Span, descending: boolean, entry: Entry | undefined, view: View): string | undefined {
    const found = entry === undefined ? undefined : keyOf(entry.key);
    const keys = this.keys.filter((key) => covers(span, key));
    if (descending) keys.reverse();
    if (found !== undefined && !keys.includes(found)) return `it answers ${shownKey(found)}, which is not in the way`;
    for (const key of keys) {
      const right = this.possible(key, view);
      const got = key === found ? toldEntry(entry) : ABSENT;
      if (!right.has(got)) return `${shownKey(key)} is ${got}, not ${[...right].join(" or ")}`;
      if (key === found) return undefined;
    }
    return undefined;
  }
}
