/**
 * Random transactions side by side against a model that keeps every state.
 *
 * Reads must show the state of the transaction's beginning with its own writes on top; commits must succeed exactly when
 * nobody is in the way; and what serializable transactions have read must read the same when they are run one after
 * another in the order of their commits.
 *
 * @module
 */
import fc from "fast-check";
import { open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import type { Isolation, Transaction } from "../../src/db/transaction_api.ts";
import { TransactionConflict } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { append, text } from "./transaction_world.ts";

type State = ReadonlyMap<string, string>;
interface Change {
  readonly kind: "put" | "delete" | "merge" | "deleteRange";
  readonly key: string;
  /** Where a range ends; absent: with the last key. */
  readonly to?: string | undefined;
}
interface Write extends Change {
  readonly value: string;
}

const KEYS = ["a", "b", "c", "d", "e", "f", "g"];
const TINY: OpenOptions = {
  compactor: false,
  garbageCollector: false,
  mergeOperator: append,
  l0SstSizeBytes: 600,
  blockSizeBytes: 1024,
  minFilterKeys: 1,
  flushIntervalMillis: null,
};

const key = fc.constantFrom(...KEYS);
const write: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("put" as const, "put" as const, "delete" as const, "merge" as const),
      key,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(key, key).map(([from, to]) => ({
      kind: "deleteRange" as const,
      key: from,
      to: to > from ? to : undefined,
    })),
  },
);
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("begin" as const),
      isolation: fc.constantFrom<Isolation>("snapshot", "serializable"),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("write" as const), tx: fc.nat(4), write }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("get" as const), tx: fc.nat(4), key }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("scan" as const),
      tx: fc.nat(4),
      from: key,
      limit: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      descending: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom("markRead" as const, "unmark" as const), tx: fc.nat(4), key }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("commit" as const), tx: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("rollback" as const), tx: fc.nat(4) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("plain" as const), write }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("flush" as const, "compact" as const, "reopen" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer A> ? A : never;
type InsideStep = Extract<Step, { readonly tx: number }>;

/** The keys of the alphabet that a change touches. */
function keysOf({ kind, key, to }: Change): readonly string[] {
  return kind === "deleteRange" ? KEYS.filter((one) => one >= key && (to === undefined || one < to)) : [key];
}

/** The keys that others must not have written, or that others conflict with: ranges as a whole, whatever is unmarked. */
function marked(writes: readonly Change[], unmarked: ReadonlySet<string>): Set<string> {
  return new Set(writes.flatMap((one) => keysOf(one).filter((k) => one.kind === "deleteRange" || !unmarked.has(k))));
}

function applied(state: State, writes: readonly Write[]): State {
  const next = new Map(state);
  for (const write of writes) {
    const { kind, key, value } = write;
    if (kind === "put") next.set(key, value);
    else if (kind !== "merge") { for (const one of keysOf(write)) next.delete(one); }
    else next.set(key, `${next.get(key) ?? ""}${value}`);
  }
  return next;
}

interface Looked {
  readonly from: string;
  readonly limit: number | undefined;
  readonly descending: boolean;
}

function scanned(state: State, { from, limit, descending }: Looked): string[] {
  const keys = [...state.keys()].filter((one) => descending ? one <= from : one >= from).sort();
  if (descending) keys.reverse();
  return keys.slice(0, limit).map((one) => `${one}=${state.get(one)}`);
}

/** Keys of the alphabet that a scan has looked at: those that would have changed its rows. */
function lookedAt(rows: readonly string[], { from, limit, descending }: Looked): string[] {
  const last = rows.length === limit ? rows.at(-1)!.slice(0, 1) : descending ? "" : "z";
  return KEYS.filter((one) => descending ? one <= from && one >= last : one >= from && one <= last);
}

/** A transaction as the model knows it. */
class Shadow {
  readonly writes: Write[] = [];
  readonly reads = new Set<string>();
  readonly unmarked = new Set<string>();
  /** What it read, to be read again when transactions are run one after another. */
  readonly replay: Array<(state: State) => { readonly seen: unknown; readonly now: unknown }> = [];
  readonly tx: Transaction;
  readonly begun: number;
  readonly base: State;

  constructor(tx: Transaction, begun: number, base: State) {
    this.tx = tx;
    this.begun = begun;
    this.base = base;
  }

  get state(): State {
    return applied(this.base, this.writes);
  }
}

class ModelRun {
  states: State[] = [new Map()];
  /** Keys that each write after state 0 touched, as others see it. */
  touched: Array<ReadonlySet<string>> = [];
  open: Shadow[] = [];
  counts = { commits: 0, conflicts: 0, reread: 0 };
  #db: Db;
  readonly #store = memoryStore();
  #values = 0;
  /** Nothing was unmarked so far. */
  #allMarked = true;

  constructor(db: Db, store: ReturnType<typeof memoryStore>) {
    this.#db = db;
    this.#store = store;
  }

  static async begin(): Promise<ModelRun> {
    const store = memoryStore();
    return new ModelRun(await open({ store, path: "" }, TINY), store);
  }

  get newest(): State {
    return this.states.at(-1)!;
  }

  #valued(write: Change): Write {
    return { ...write, value: `${this.#values++}.` };
  }

  #committed(writes: readonly Write[], unmarked: ReadonlySet<string> = new Set()): void {
    this.states.push(applied(this.newest, writes));
    this.touched.push(marked(writes, unmarked));
  }

  async step(one: Step): Promise<void> {
    if (one.do === "begin") {
      if (this.open.length < 5) {
        const tx = await this.#db.begin({ isolation: one.isolation });
        this.open.push(new Shadow(tx, this.states.length - 1, this.newest));
      }
    } else if (one.do === "plain") {
      const write = this.#valued(one.write);
      await apply(this.#db, write, { durable: false });
      this.#committed([write]);
    } else if (one.do === "flush") {
      await this.#db.flush({ kind: "memtable" });
    } else if (one.do === "compact") {
      await this.#db.compact();
    } else if (one.do === "reopen") {
      await this.#db.close();
      this.open = [];
      this.#db = await open({ store: this.#store, path: "" }, TINY);
    } else if ("tx" in one && this.open.length > 0) {
      const shadow = this.open[one.tx % this.open.length]!;
      await this.#inside(shadow, one);
    }
  }

  async #inside(
    shadow: Shadow,
    one: InsideStep,
  ): Promise<void> {
    const { tx } = shadow;
    if (one.do === "write") {
      const write = this.#valued(one.write);
      await apply(tx, write);
      shadow.writes.push(write);
    } else if (one.do === "get") {
      const seen = text(await tx.get(one.key));
      assert.equal(seen, shadow.state.get(one.key));
      if (tx.isolation === "serializable") shadow.reads.add(one.key);
      const before = shadow.writes.slice();
      shadow.replay.push((state) => ({ seen, now: applied(state, before).get(one.key) }));
    } else if (one.do === "scan") {
      const range = one.descending ? { lte: one.from } : { gte: one.from };
      const entries = await tx.scan(range, {
        order: one.descending ? "descending" : "ascending",
        ...(one.limit === undefined ? {} : { limit: one.limit }),
      }).toArray();
      const seen = entries.map(({ key, value }) => `${text(key)}=${text(value)}`);
      assert.deepEqual(seen, scanned(shadow.state, one));
      if (tx.isolation === "serializable") { for (const key of lookedAt(seen, one)) shadow.reads.add(key); }
      const before = shadow.writes.slice();
      shadow.replay.push((state) => ({ seen, now: scanned(applied(state, before), one) }));
    } else if (one.do === "markRead") {
      await tx.markRead([one.key]);
      shadow.reads.add(one.key);
    } else if (one.do === "unmark") {
      await tx.unmarkWrite([one.key]);
      shadow.unmarked.add(one.key);
    } else {
      this.open.splice(this.open.indexOf(shadow), 1);
      if (one.do === "rollback") await tx.rollback();
      else await this.#commit(shadow);
    }
  }

  async #commit(shadow: Shadow): Promise<void> {
    const { tx, writes, reads, unmarked, begun } = shadow;
    const later = this.touched.slice(begun);
    const written = marked(writes, unmarked);
    const inTheWay = later.some((keys) => [...written, ...reads].some((one) => keys.has(one)));
    const before = this.#db.status.lastSeq;
    try {
      const result = await tx.commit({ durable: false });
      assert.equal(inTheWay, false, "it should have been refused");
      assert.equal(result?.seq, writes.length === 0 ? undefined : before + 1);
      this.counts.commits++;
      // Unmarking gives up the promise, on both sides.
      const promised = tx.isolation === "serializable" && this.#allMarked;
      if (promised) {
        for (const again of shadow.replay) {
          this.counts.reread++;
          const { seen, now } = again(this.newest);
          assert.deepEqual(now, seen, "one after another it would have read something else");
        }
      }
      if (writes.length > 0) this.#committed(writes, unmarked);
      if (unmarked.size > 0) this.#allMarked = false;
    } catch (error) {
      if (!(error instanceof TransactionConflict)) throw error;
      assert.equal(inTheWay, true, error.message);
      assert.equal(this.#db.status.lastSeq, before);
      this.counts.conflicts++;
    }
  }

  async end(): Promise<void> {
    const rows = await this.#db.scan().toArray();
    assert.deepEqual(
      rows.map(({ key, value }) => `${text(key)}=${text(value)}`),
      scanned(this.newest, {
        from: "a",
        limit: undefined,
        descending: false,
      }),
    );
    await this.#db.close();
  }
}

async function apply(to: Db | Transaction, write: Write, options?: { durable: boolean }): Promise<void> {
  const { kind, key, value, to: end } = write;
  if (kind === "deleteRange") {
    await (to as Db).deleteRange(end === undefined ? { gte: key } : { gte: key, lt: end }, options);
  } else if (kind === "put") await (to as Db).put(key, value, options);
  else if (kind === "delete") await (to as Db).delete(key, options);
  else await (to as Db).merge(key, value, options);
}

describe("transactions", () => {
  it("X3 X5 X6 agree with a model in random histories, and serializable ones with running them one by one", async () => {
    const totals = { commits: 0, conflicts: 0, reread: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 100, size: "max" }), async (steps) => {
        const run = await ModelRun.begin();
        for (const one of steps) await run.step(one);
        await run.end();
        totals.commits += run.counts.commits;
        totals.conflicts += run.counts.conflicts;
        totals.reread += run.counts.reread;
      }),
      { seed: 11, numRuns: 200 },
    );
    assert.ok(totals.commits > 400 && totals.conflicts > 80 && totals.reread > 100, JSON.stringify(totals));
  });
});
