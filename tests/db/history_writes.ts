/**
 * Steps of random histories that write: single operations, batches, conditional puts, transactions.
 *
 * @module
 */
import type { PutOptions, WriteResult } from "../../src/db/api.ts";
import type { Transaction } from "../../src/db/transaction_api.ts";
import { WriteBatch } from "../../mod.ts";
import { TransactionConflict } from "../../src/errors.ts";
import { assert } from "../support/suite.ts";
import { type Dice, drawOp } from "./history_draw.ts";
import { bytesOf, type Op, shownKey, type View } from "./history_model.ts";
import type { HistoryRun } from "./history_run.ts";
import { ShadowTransaction } from "./history_transaction.ts";

/** One kind of step: how often it comes, what must be in use for it, and what it does. */
export interface StepKind {
  readonly weight: number;
  readonly group?: string;
  readonly run: (run: HistoryRun, dice: Dice) => Promise<void> | void;
}

const OPEN_TRANSACTIONS = 4;

/** An operation as people read it. */
function shownOp(op: Op): string {
  if (op.kind === "deleteRange") return `deleteRange [${shownKey(op.span.start)}, ${shownKey(op.span.end)})`;
  if (op.kind === "delete") return `delete ${shownKey(op.key)}`;
  return `${op.kind} ${shownKey(op.key)}=${op.value}${op.ttl === undefined ? "" : ` ${JSON.stringify(op.ttl)}`}`;
}

function ttlOf(op: Op): PutOptions {
  return "ttl" in op && op.ttl !== undefined ? { ttl: op.ttl } : {};
}

/** Calls the method of each operation. */
async function applyTo(target: Transaction | WriteBatch, op: Op): Promise<void> {
  if (op.kind === "deleteRange") await target.deleteRange(op.range);
  else if (op.kind === "delete") await target.delete(bytesOf(op.key));
  else await target[op.kind](bytesOf(op.key), bytesOf(op.value), ttlOf(op));
}

/** Notes what a write answered. */
function written(run: HistoryRun, ops: readonly Op[], result: WriteResult, exempt?: ReadonlySet<string>): void {
  const { model } = run;
  if (result.seq === model.lastSeq) return assertNothing(run, ops);
  assert.equal(result.seq, model.lastSeq + 1, "numbers go up one by one");
  model.commit(ops, result.seq, result.createdAt, exempt);
}

/** An expanded range delete that found nothing took no number. */
function assertNothing(run: HistoryRun, ops: readonly Op[]): void {
  const { model, now } = run;
  assert.equal(run.settings.options.rangeDeletes, "expand", "a write took no number");
  const view: View = { maxSeq: model.lastSeq, from: now, to: now };
  for (const op of ops) {
    if (op.kind !== "deleteRange") continue;
    assert.deepEqual(model.certain(op.span, view), [], `${shownOp(op)} took no number`);
  }
  run.count("nothing to expand");
}

async function write(run: HistoryRun, dice: Dice, count: number): Promise<void> {
  const { db, settings, model } = run;
  const ops = Array.from(
    { length: count },
    (_, i) => drawOp(dice, settings.keys, settings.use, run.now, `${model.lastSeq + 1}${i === 0 ? "" : `-${i}`}`),
  );
  const durable = dice.once(6);
  run.say(`${count > 1 ? "batch: " : ""}${ops.map(shownOp).join("; ")}${durable ? " durable" : ""}`);
  const [op] = ops as [Op];
  if (count > 1 || dice.once(4)) {
    const batch = new WriteBatch();
    for (const one of ops) void applyTo(batch, one);
    return written(run, ops, await run.get(db.write(batch, { durable })));
  }
  const promise = op.kind === "deleteRange"
    ? db.deleteRange(op.range, { durable })
    : op.kind === "delete"
    ? db.delete(bytesOf(op.key), { durable })
    : db[op.kind](bytesOf(op.key), bytesOf(op.value), { durable, ...ttlOf(op) });
  written(run, ops, await run.get(promise));
  run.count(op.kind);
}

/** Several writes whose answers are not waited for one by one. */
async function burst(run: HistoryRun, dice: Dice): Promise<void> {
  const { db, settings, model } = run;
  const ending = run.transactions.filter(({ ops }) => ops.length > 0 && dice.once(2));
  run.transactions = run.transactions.filter((shadow) => !ending.includes(shadow));
  for (const { tx } of ending) await closeWalks(run, tx);
  const answers: Array<() => Promise<void>> = [];
  for (let i = 2 + dice.next(4) + ending.length; i > 0; i--) {
    const shadow = dice.once(3) || i <= ending.length ? ending.pop() : undefined;
    if (shadow !== undefined) {
      run.say(`at once: ${shadow.name} commits`);
      const promise = shadow.tx.commit({ durable: false });
      promise.catch(() => {});
      answers.push(() => committed(run, shadow, promise));
    } else {
      const op = drawOp(dice, settings.keys, settings.use, run.now, `${model.lastSeq + 1}+${i}`);
      run.say(`at once: ${shownOp(op)}`);
      const batch = new WriteBatch();
      void applyTo(batch, op);
      const promise = db.write(batch, { durable: false });
      answers.push(async () => written(run, [op], await run.get(promise)));
    }
  }
  for (const answer of answers) await answer();
}

async function conditional(run: HistoryRun, dice: Dice): Promise<void> {
  const { db, model } = run;
  const key = dice.of(run.settings.keys);
  const bytes = bytesOf(key);
  const value = `${model.lastSeq + 1}c.`;
  const entry = await run.get(db.getEntry(bytes));
  const kind = dice.next(3);
  const condition: PutOptions = kind === 0 ? { ifAbsent: true } : { ifSeq: (entry?.seq ?? 5) + (kind === 1 ? 0 : 1) };
  const passes = kind === 0 ? entry === undefined : kind === 1 && entry !== undefined;
  run.say(`put ${shownKey(key)} ${JSON.stringify(condition)}, which holds ${entry?.seq}`);
  try {
    const result = await run.get(db.put(bytes, value, { durable: false, ...condition }));
    assert.ok(passes, "the condition does not hold");
    written(run, [{ kind: "put", key, value }], result);
  } catch (error) {
    if (!(error instanceof TransactionConflict)) throw error;
    // A row may expire, or be rewritten as expired, between the two.
    assert.ok(
      !passes || run.model.possible(key, { maxSeq: model.lastSeq, from: 0, to: run.now }).size > 1,
      error.message,
    );
    run.count("conditional put refused");
  }
}

async function begin(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.transactions.length >= OPEN_TRANSACTIONS) return;
  const isolation = dice.of(["snapshot", "serializable", "serializable"] as const);
  const name = `tx${++run.names}`;
  const tx = await run.db.begin({ isolation });
  assert.equal(tx.seq, run.model.lastSeq);
  run.transactions.push(new ShadowTransaction(tx, name, run.db.status.durableSeq));
  run.say(`${name}: begins, ${isolation} @${tx.seq}`);
}

async function inside(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.transactions.length === 0) return begin(run, dice);
  const shadow = dice.of(run.transactions);
  const { tx, name } = shadow;
  const { keys, use } = run.settings;
  if (dice.once(12)) {
    const marked = [dice.of(keys)];
    const isRead = dice.once(2);
    run.say(`${name}: ${isRead ? "markRead" : "unmarkWrite"} ${marked.map(shownKey)}`);
    await (isRead ? tx.markRead(marked.map(bytesOf)) : tx.unmarkWrite(marked.map(bytesOf)));
    if (isRead) shadow.readKeys(marked, true);
    else shadow.unmarked.add(marked[0]!);
    return;
  }
  const op = drawOp(dice, keys, use, run.now, `${name}-${shadow.ops.length}`);
  run.say(`${name}: ${shownOp(op)}`);
  await applyTo(tx, op);
  shadow.ops.push(op);
}

async function commit(run: HistoryRun, dice: Dice): Promise<void> {
  if (run.transactions.length === 0) return;
  const [shadow] = run.transactions.splice(dice.next(run.transactions.length), 1) as [ShadowTransaction];
  const { tx, name } = shadow;
  await closeWalks(run, tx);
  if (dice.once(8)) {
    run.say(`${name}: rolls back`);
    return await tx.rollback();
  }
  run.say(`${name}: commits`);
  await committed(run, shadow, tx.commit({ durable: dice.once(4) }));
}

/** Judges the answer of a commit; everything called before it is in the model. */
async function committed(
  run: HistoryRun,
  shadow: ShadowTransaction,
  promise: Promise<WriteResult | undefined>,
): Promise<void> {
  const { name, ops, unmarked } = shadow;
  const verdict = shadow.verdict(run.model, run.settings.options.rangeDeletes === "expand");
  try {
    const result = await run.get(promise);
    assert.notEqual(verdict, "refused", `${name} should have been refused`);
    assert.equal(result === undefined, ops.length === 0);
    if (result !== undefined) written(run, ops, result, unmarked);
    run.count("commit");
  } catch (error) {
    if (!(error instanceof TransactionConflict)) throw error;
    assert.notEqual(verdict, "passes", error.message);
    run.count("conflict");
  }
}

/** Closes what walks over something that is about to end. */
export async function closeWalks(run: HistoryRun, owner: object): Promise<void> {
  const walks = [...run.cursors, ...run.scans].filter(({ source }) => source.owner === owner);
  for (const walk of walks) await run.get(walk.close());
  run.dropWalks(owner);
}

/** Steps that write. */
export const WRITES: Readonly<Record<string, StepKind>> = {
  write: { weight: 40, run: (run, dice) => write(run, dice, 1) },
  batch: { weight: 10, group: "batches", run: (run, dice) => write(run, dice, 2 + dice.next(8)) },
  burst: { weight: 6, group: "batches", run: burst },
  conditional: { weight: 3, group: "conditions", run: conditional },
  begin: { weight: 8, group: "transactions", run: begin },
  inside: { weight: 16, group: "transactions", run: inside },
  commit: { weight: 12, group: "transactions", run: commit },
};
