/**
 * One random history: a database, everything that is open on it, and the model that every answer is compared with.
 *
 * A step has a kind and a seed of its own, so that a history stays what it is when some of its steps are left out. All
 * of it happens in virtual time on a memory store.
 *
 * @module
 */
import { DataError } from "../../mod.ts";
import type { DbReader } from "../../src/db/admin_api.ts";
import type { Db, Entry, MergeFunction, Reads, Snapshot } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { assert } from "../support/suite.ts";
import { openSeeded, World } from "./fault_world.ts";
import { Dice, drawSettings, type Settings } from "./history_draw.ts";
import { HistoryModel, type Span, type View } from "./history_model.ts";
import type { ShadowTransaction } from "./history_transaction.ts";
import type { CursorWalk, ScanWalk } from "./history_walks.ts";

/** More than anything takes, ms of virtual time. */
const PATIENCE_MILLIS = 900_000;

/** Something to read from, and what it should show. */
export interface Source {
  readonly name: string;
  /** What it ends with. */
  readonly owner: object;
  readonly reads: Reads;
  /** The number up to which it sees commits, now. */
  readonly seq: (durable: boolean) => number;
  readonly shadow?: ShadowTransaction;
  /** Whether what it reads may be collected: it fails typed then. */
  readonly mayExpire: boolean;
}

/** A snapshot and what it should show. */
export interface HeldSnapshot {
  readonly snapshot: Snapshot;
  readonly durableSeq: number;
}

/** A reader and what it has shown. */
export interface HeldReader {
  readonly reader: DbReader;
  readonly mode: "managed" | "follow";
  readonly name: string;
  seen: number;
}

/** A checkpoint and what it pins. */
export interface HeldCheckpoint {
  readonly id: string;
  /** It shows everything up to here, and nothing after `lastSeq`. */
  readonly seq: number;
  readonly lastSeq: number;
  readonly expiresAt: number;
}

const concat: MergeFunction = (_key, existing, operand) => {
  const all = new Uint8Array((existing?.length ?? 0) + operand.length);
  if (existing !== undefined) all.set(existing);
  all.set(operand, existing?.length ?? 0);
  return all;
};

/** How often each thing happened, over all histories of a run. */
export type Counts = Map<string, number>;

/** The state of one history while it is lived. */
export class HistoryRun {
  readonly seed: number;
  readonly settings: Settings;
  readonly model: HistoryModel;
  readonly counts: Counts;
  /** What happened, for people. */
  readonly log: string[] = [];
  snapshots: HeldSnapshot[] = [];
  transactions: ShadowTransaction[] = [];
  cursors: CursorWalk[] = [];
  scans: ScanWalk[] = [];
  readers: HeldReader[] = [];
  checkpoints: HeldCheckpoint[] = [];
  world: World;
  db!: Db;
  durableSeq = 0;
  names = 0;
  #opened = 0;

  constructor(seed: number, counts: Counts) {
    this.seed = seed;
    this.counts = counts;
    this.settings = drawSettings(new Dice(seed * 2 + 1));
    this.model = new HistoryModel(this.settings.keys, this.settings.options.ttl !== "slatedb");
    this.world = this.#world(new World(this.options));
  }

  get options(): OpenOptions {
    return { ...this.settings.options, mergeOperator: concat };
  }

  get mergeOperator(): MergeFunction {
    return concat;
  }

  /** Virtual time, ms since 1970. */
  get now(): number {
    return this.world.clock.now();
  }

  /** Says what happens. */
  say(what: string): void {
    this.log.push(what);
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** The value of something that must succeed; time passes until it has. */
  get<A>(promise: Promise<A>): Promise<A> {
    return this.world.get(promise, PATIENCE_MILLIS);
  }

  /** Fails unless there is no problem. */
  must(what: string, problem: string | undefined): void {
    if (problem !== undefined) assert.fail(`${what}: ${problem}`);
  }

  /** Opens the database, as a new writer. */
  async open(): Promise<void> {
    const { options } = this.world;
    this.db = await this.get(
      openSeeded(this.world.store, options, this.seed * 1000 + this.#opened++, this.settings.internals),
    );
  }

  /** Judges what a new writer found of what was there, and goes on with that. */
  settle(what: string): void {
    const found = this.db.status.lastSeq;
    const written = this.model.lastSeq;
    this.say(`${what}: it holds ${found} of ${written}, ${this.durableSeq} were durable`);
    assert.ok(found >= this.durableSeq && found <= written, `${what}: it holds ${found} of ${written} commits`);
    this.model.truncate(found);
  }

  /** A writer dies; everything goes on in a copy of its store. */
  async crash(): Promise<void> {
    const inner = this.world.inner.clone();
    const { now } = this;
    this.world.store.controls.crash();
    const next = new World(this.options, inner);
    await next.clock.advance(now - next.clock.now());
    this.world = this.#world(next);
    this.readers = [];
    this.dropHandles();
  }

  /** Forgets what ends with a writer. */
  dropHandles(): void {
    const kept = new Set<object>(this.readers.map(({ reader }) => reader));
    this.cursors = this.cursors.filter(({ source }) => kept.has(source.owner));
    this.scans = this.scans.filter(({ source }) => kept.has(source.owner));
    this.snapshots = [];
    this.transactions = [];
  }

  /** Forgets walks of something that has ended. */
  dropWalks(owner: object): void {
    this.cursors = this.cursors.filter(({ source }) => source.owner !== owner);
    this.scans = this.scans.filter(({ source }) => source.owner !== owner);
  }

  /** The database itself. */
  get ofDb(): Source {
    const { db } = this;
    const seq = (durable: boolean) => durable ? db.status.durableSeq : db.status.lastSeq;
    return { name: "the database", owner: db, reads: db, seq, mayExpire: false };
  }

  ofTransaction(shadow: ShadowTransaction): Source {
    const { tx, name } = shadow;
    return {
      name,
      owner: tx,
      reads: tx,
      seq: (durable) => shadow.view(0, durable).maxSeq,
      shadow,
      mayExpire: false,
    };
  }

  ofReader({ reader, name, mode }: HeldReader): Source {
    return { name, owner: reader, reads: reader, seq: () => reader.status.seq, mayExpire: mode === "follow" };
  }

  /** Everything that can be read. */
  sources(): Source[] {
    return [
      this.ofDb,
      ...this.snapshots.map(({ snapshot, durableSeq }): Source => ({
        name: `the snapshot @${snapshot.seq}`,
        owner: snapshot,
        reads: snapshot,
        seq: (durable) => durable ? durableSeq : snapshot.seq,
        mayExpire: false,
      })),
      ...this.transactions.map((shadow) => this.ofTransaction(shadow)),
      ...this.readers.map((held) => this.ofReader(held)),
    ];
  }

  /** Reads, and compares with what was right at any moment of the read. */
  async check<A>(
    source: Source,
    durable: boolean,
    what: string,
    read: () => Promise<A>,
    problem: (answer: A, view: View) => string | undefined,
  ): Promise<A | undefined> {
    this.say(`${source.name}: ${what}${durable ? " of what is durable" : ""}`);
    const from = this.now;
    const first = source.seq(durable);
    let answer: A;
    try {
      answer = await this.get(read());
    } catch (error) {
      if (!source.mayExpire || !isExpired(error)) throw error;
      this.count("expired");
      return undefined;
    }
    const own = source.shadow?.view(0, durable).own;
    const last = source.seq(durable);
    let wrong: string | undefined;
    for (let maxSeq = first; maxSeq <= last; maxSeq++) {
      const found = problem(answer, { maxSeq, own, from, to: this.now });
      if (found === undefined) return answer;
      wrong ??= found;
    }
    assert.fail(`${source.name}: ${what}, seen up to ${first}..${last} at ${from}..${this.now}: ${wrong}`);
  }

  /** One answer of a walk; undefined when it ended for a good reason. */
  async walked<A>(walk: CursorWalk | ScanWalk, promise: Promise<A>): Promise<{ readonly answer: A } | undefined> {
    walk.use(this.now);
    try {
      return { answer: await this.get(promise) };
    } catch (error) {
      const { source } = walk;
      const mode = this.readers.find(({ reader }) => reader === source.owner)?.mode;
      if (!isExpired(error) || (mode !== "follow" && !walk.isAbandoned)) throw error;
      this.count("expired");
      this.cursors = this.cursors.filter((one) => one !== walk);
      this.scans = this.scans.filter((one) => one !== walk);
      return undefined;
    }
  }

  /** What must hold after every step. */
  checkStatus(): void {
    const { lastSeq, durableSeq, closeReason } = this.db.status;
    assert.equal(closeReason, undefined, "it closed by itself");
    assert.equal(lastSeq, this.model.lastSeq, "the status tells another last number");
    assert.ok(durableSeq >= this.durableSeq && durableSeq <= lastSeq, `durable up to ${durableSeq} of ${lastSeq}`);
    this.durableSeq = durableSeq;
    for (const held of this.readers) {
      const { seq, closeReason } = held.reader.status;
      assert.equal(closeReason, undefined, `${held.name} closed by itself`);
      assert.ok(seq >= held.seen && seq <= lastSeq, `${held.name} went from ${held.seen} to ${seq} of ${lastSeq}`);
      held.seen = seq;
    }
  }

  #world(world: World): World {
    if (this.settings.latencyMillis > 0) world.store.controls.setLatency(this.settings.latencyMillis);
    return world;
  }
}

function isExpired(error: unknown): boolean {
  return error instanceof DataError && error.reason === "view-expired";
}

/** What is wrong with the rows of a scan. */
export function scanProblem(
  model: HistoryModel,
  rows: readonly Entry[],
  { range, descending, limit }: { readonly range: Span; readonly descending: boolean; readonly limit: number },
  view: View,
): string | undefined {
  let rest = range;
  for (const row of rows) {
    const problem = model.problem(rest, descending, row, view);
    if (problem !== undefined) return problem;
    const key = String.fromCharCode(...row.key);
    rest = descending ? { start: rest.start, end: key } : { start: `${key}\0`, end: rest.end };
  }
  if (rows.length > limit) return `${rows.length} rows, the limit is ${limit}`;
  return rows.length === limit ? undefined : model.problem(rest, descending, undefined, view);
}
