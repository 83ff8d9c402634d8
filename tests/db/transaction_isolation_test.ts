/**
 * Random transactions side by side that read and append to lists, and delete ranges of them to write them anew; their
 * history is searched for anomalies.
 *
 * @module
 */
import { open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import type { Isolation, Transaction } from "../../src/db/transaction_api.ts";
import { TransactionConflict } from "../../src/errors.ts";
import { seededIds } from "../../src/env/ids.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { findAnomalies, type ListStep, type ListTransaction } from "../support/list_append.ts";
import { assert, describe, it } from "../support/suite.ts";
import { append, text } from "./transaction_world.ts";

const KEYS = 4;
const OPTIONS: OpenOptions = {
  compactor: false,
  garbageCollector: false,
  mergeOperator: append,
  l0SstSizeBytes: 700,
  blockSizeBytes: 1024,
  flushIntervalMillis: 1,
};

type Mutable<A> = { -readonly [K in keyof A]: A[K] };
interface Running {
  readonly tx: Transaction;
  readonly record: Mutable<Omit<ListTransaction, "steps">> & { steps: ListStep[] };
  readonly length: number;
}

/** Runs transactions side by side and writes down what they did and saw. */
class Workload {
  readonly history: ListTransaction[] = [];
  readonly #isolation: Isolation;
  readonly #random: (below: number) => number;
  readonly #store = memoryStore();
  #db!: Db;
  #moment = 0;
  #element = 0;

  constructor(isolation: Isolation, seed: number) {
    this.#isolation = isolation;
    const ids = seededIds(seed * 7919 + 1);
    this.#random = (below) => {
      const [a, b] = ids.randomBytes(2) as unknown as [number, number];
      return (a * 256 + b) % below;
    };
  }

  async run(transactions: number): Promise<void> {
    this.#db = await open({ store: this.#store, path: "" }, OPTIONS);
    const running: Running[] = [];
    let begun = 0;
    while (begun < transactions || running.length > 0) {
      const chance = this.#random(100);
      if (chance < 2) await this.#db.flush({ kind: "memtable" });
      else if (chance < 3) await this.#db.compact();
      else if (chance < 4) await this.#reopen(running);
      else if (begun < transactions && running.length < 5 && chance < 35) running.push(await this.#begin(begun++));
      else if (running.length > 0) {
        const at = this.#random(running.length);
        if (running[at]!.record.steps.length < running[at]!.length) await this.#step(running[at]!);
        else await this.#end(running.splice(at, 1)[0]!);
      }
    }
    const last = await this.#begin(transactions);
    for (let key = 0; key < KEYS; key++) await this.#read(last, `k${key}`);
    await this.#end(last, true);
    await this.#db.close();
  }

  async #begin(id: number): Promise<Running> {
    const begun = ++this.#moment;
    const tx = await this.#db.begin({ isolation: this.#isolation });
    return { tx, length: 1 + this.#random(4), record: { id, steps: [], outcome: "aborted", begun, ended: 0 } };
  }

  async #step(running: Running): Promise<void> {
    const key = `k${this.#random(KEYS)}`;
    const way = this.#random(7);
    if (way === 6) return await this.#rewrite(running);
    if (way < 3) return await this.#read(running, key);
    const element = ++this.#element;
    const { tx, record } = running;
    if (way === 3) {
      // Read and write: one operation of the store, two of the history.
      await this.#read(running, key);
      const value = text(await tx.get(key)) ?? "";
      await tx.put(key, `${value}${element},`);
    } else {
      await tx.merge(key, `${element},`);
    }
    record.steps.push({ kind: "append", key, element });
  }

  /** Deletes a range and writes its lists anew, each longer by one: reads and appends to whoever looks at the lists. */
  async #rewrite(running: Running): Promise<void> {
    const { tx, record } = running;
    const from = this.#random(KEYS);
    const to = from + this.#random(KEYS - from);
    const lists = new Map<string, string>();
    for (let i = from; i <= to; i++) {
      const key = `k${i}`;
      await this.#read(running, key);
      lists.set(key, text(await tx.get(key)) ?? "");
    }
    await tx.deleteRange({ gte: `k${from}`, lte: `k${to}` });
    for (const [key, list] of lists) {
      const element = ++this.#element;
      // What is merged finds nothing below the range delete.
      await (this.#random(2) === 0 ? tx.put : tx.merge).call(tx, key, `${list}${element},`);
      record.steps.push({ kind: "append", key, element });
    }
  }

  async #read({ tx, record }: Running, key: string): Promise<void> {
    const way = this.#random(4);
    let value: string | undefined;
    if (way === 0) value = text((await tx.scan({ gte: key, lte: key }).toArray())[0]?.value);
    else if (way === 1) {
      value = text(
        (await tx.scan({ lte: key }, { limit: 1, order: "descending" }).toArray())
          .find((entry) => text(entry.key) === key)?.value,
      );
    } else value = text(await tx.get(key));
    const list = (value ?? "").split(",").filter((one) => one !== "").map(Number);
    record.steps.push({ kind: "read", key, list });
  }

  async #end({ tx, record }: Running, mustCommit = false): Promise<void> {
    try {
      if (!mustCommit && this.#random(12) === 0) await tx.rollback();
      else {
        await tx.commit({ durable: this.#random(2) === 0 });
        record.outcome = "committed";
      }
    } catch (error) {
      if (!(error instanceof TransactionConflict)) throw error;
    }
    record.ended = ++this.#moment;
    this.history.push(record);
  }

  async #reopen(running: Running[]): Promise<void> {
    await this.#db.close();
    for (const { record } of running.splice(0)) {
      record.ended = ++this.#moment;
      this.history.push(record);
    }
    this.#db = await open({ store: this.#store, path: "" }, OPTIONS);
  }
}

const SEEDS = 25;
const TRANSACTIONS = 60;

describe("isolation of transactions", () => {
  for (const level of ["snapshot", "serializable"] as const) {
    it(`K-20 list-append histories have no anomaly that ${level} isolation forbids`, async () => {
      let committed = 0;
      let aborted = 0;
      let skewed = 0;
      for (let seed = 0; seed < SEEDS; seed++) {
        const workload = new Workload(level, seed);
        await workload.run(TRANSACTIONS);
        const { history } = workload;
        assert.deepEqual(findAnomalies(history, level), [], `seed ${seed}`);
        committed += history.filter(({ outcome }) => outcome === "committed").length;
        aborted += history.filter(({ outcome }) => outcome === "aborted").length;
        if (level === "snapshot" && findAnomalies(history, "serializable").length > 0) skewed++;
      }
      assert.ok(
        committed > SEEDS * TRANSACTIONS / 3 && aborted > SEEDS * 5,
        `${committed} committed, ${aborted} aborted`,
      );
      if (level === "snapshot") {
        assert.ok(skewed > SEEDS / 4, `write skew in ${skewed} histories: the search has power`);
      }
    });
  }
});
