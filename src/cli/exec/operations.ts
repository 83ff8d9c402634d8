/**
 * What each operation of a script does and what it answers. Forms of fields have been checked before.
 *
 * @module
 */
import type { Bytes, Db, KeyRange, Reads, Scan, Ttl, WriteResult } from "../../db/api.ts";
import type { Isolation, Transaction } from "../../db/transaction_api.ts";
import { WriteBatch } from "../../db/write_batch.ts";
import { Unavailable } from "../../errors.ts";
import { bytesJson, commitJson, entryJson, pairJson, reasonJson, rowsJson, writeJson } from "./answers.ts";
import { refused } from "./handles.ts";
import type { Session } from "./session.ts";
import { bytesOf, type Json, type Step } from "./step_values.ts";

/** How an operation is done; answers what stands under `ok`. */
export type Operation = (session: Session, step: Step) => Promise<Json>;

/** The answer of what has none. */
const DONE: Json = {};

/** An operation without an answer of its own. */
const doing = (work: (session: Session, step: Step) => Promise<unknown>): Operation => async (session, step) => {
  await work(session, step);
  return DONE;
};

/** A write, by a database or inside a transaction. */
const writing = (
  toDb: (db: Db, step: Step) => Promise<WriteResult>,
  toTransaction: (tx: Transaction, step: Step) => Promise<void>,
): Operation =>
async (session, step) => {
  const target = session.writer(step);
  if (target.kind === "db") return writeJson(await session.written(step, toDb(target.reads, step)));
  if (step["awaitDurable"] !== undefined) {
    throw refused("a write inside a transaction has no awaitDurable; commit has");
  }
  await toTransaction(target.reads, step);
  return DONE;
};

const key = (step: Step): Uint8Array => bytesOf(step["key"]!);
const value = (step: Step): Uint8Array => bytesOf(step["value"]!);
const keys = (step: Step): Uint8Array[] => (step["keys"] as readonly Json[]).map(bytesOf);

function ttl(step: Step): { readonly ttl?: Ttl } {
  const given = step["ttl"];
  if (given === undefined) return {};
  if (typeof given === "string") return { ttl: given as "default" | "none" };
  const { after, at } = given as { readonly after?: number; readonly at?: number };
  return { ttl: after !== undefined ? { afterMillis: after } : { atMillis: at! } };
}

const durable = (step: Step) => ({ durable: step["awaitDurable"] !== false });

function readOptions({ durability }: Step): { readonly durability?: "memory" | "durable" } {
  return durability === undefined ? {} : { durability: durability === "remote" ? "durable" : "memory" };
}

/** [from, to) of a range to delete. */
function deleted(step: Step): KeyRange {
  return { gte: bytesOf(step["from"]!), lt: bytesOf(step["to"]!) };
}

function batchOf(ops: readonly Step[]): WriteBatch {
  const batch = new WriteBatch();
  for (const op of ops) {
    if (op.op === "put") batch.put(key(op), value(op), ttl(op));
    else if (op.op === "merge") batch.merge(key(op), value(op), ttl(op));
    else if (op.op === "delete") batch.delete(key(op));
    else batch.deleteRange(deleted(op));
  }
  return batch;
}

function scanOf(reads: Reads, step: Step): Scan {
  const { from, to, fromInclusive = true, toInclusive = false, prefix, order } = step;
  const range: Record<string, Bytes> = {};
  if (from !== undefined) range[fromInclusive === true ? "gte" : "gt"] = bytesOf(from);
  if (to !== undefined) range[toInclusive === true ? "lte" : "lt"] = bytesOf(to);
  if (prefix !== undefined) range["prefix"] = bytesOf(prefix);
  const ordered = order === undefined ? {} : { order: order as "ascending" | "descending" };
  return reads.scan(range as KeyRange, { ...ordered, ...readOptions(step) });
}

async function collect(session: Session, step: Step): Promise<void> {
  const { stopped } = await session.db(step).collectGarbage();
  if (stopped === undefined) return;
  throw new Unavailable({ reason: "collection", message: `The collection ended early: ${stopped}` });
}

/** Operations by name; `each` is the session's own. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  open: doing((session, step) => session.open(step)),
  openReader: doing((session, step) => session.openReader(step)),
  close: doing((session, step) => session.opened(step).close()),
  crash: doing((session, step) => session.crash(step)),
  put: writing(
    (db, step) => db.put(key(step), value(step), { ...durable(step), ...ttl(step) }),
    (tx, step) => tx.put(key(step), value(step), ttl(step)),
  ),
  merge: writing(
    (db, step) => db.merge(key(step), value(step), { ...durable(step), ...ttl(step) }),
    (tx, step) => tx.merge(key(step), value(step), ttl(step)),
  ),
  delete: writing((db, step) => db.delete(key(step), durable(step)), (tx, step) => tx.delete(key(step))),
  deleteRange: writing(
    (db, step) => db.deleteRange(deleted(step), durable(step)),
    (tx, step) => tx.deleteRange(deleted(step)),
  ),
  write: async (session, step) => {
    const batch = batchOf(step["ops"] as unknown as Step[]);
    return writeJson(await session.written(step, session.db(step).write(batch, durable(step))));
  },
  get: async (session, step) => bytesJson(await session.reads(step).get(key(step), readOptions(step))),
  getKeyValue: async (session, step) => entryJson(await session.reads(step).getEntry(key(step))),
  scan: (session, step) => rowsJson(scanOf(session.reads(step), step), step["limit"] as number | undefined),
  iter: doing((session, step) =>
    session.bindChild(step, (reads) => ({ kind: "iterator", iterator: scanOf(reads, step).iterator() }))
  ),
  next: async (session, step) => pairJson(await session.iterator(step).next()),
  seek: doing((session, step) => session.iterator(step).seek(key(step))),
  snapshot: doing(async (session, step) => {
    const reads = await session.opened(step).snapshot();
    await session.bindChild(step, () => ({ kind: "snapshot", reads }));
  }),
  // deno-lint-ignore require-await -- every operation answers by a promise
  release: doing(async (session, step) => session.snapshot(step).release()),
  begin: doing(async (session, step) => {
    const isolation = step["isolation"] as Isolation | undefined;
    const reads = await session.db(step).begin(isolation === undefined ? {} : { isolation });
    await session.bindChild(step, () => ({ kind: "transaction", reads }));
  }),
  markRead: doing((session, step) => session.transaction(step).markRead(keys(step))),
  unmarkWrite: doing((session, step) => session.transaction(step).unmarkWrite(keys(step))),
  commit: async (session, step) =>
    commitJson(await session.written(step, session.transaction(step).commit(durable(step)))),
  rollback: doing((session, step) => session.transaction(step).rollback()),
  flush: doing((session, step) => {
    const kind = step["kind"] as "wal" | "memtable" | undefined;
    return session.db(step).flush(kind === undefined ? {} : { kind });
  }),
  compact: doing((session, step) => session.compact(step)),
  gc: doing(collect),
  advance: doing((session, step) => session.movable(step).advance(step["ms"] as number)),
  setClock: doing((session, step) => session.movable(step).set(step["ms"] as number)),
  poll: doing((session, step) => session.reader(step).refresh()),
  checkpoint: doing(async (session, step) => {
    const scope = step["scope"] as "all" | "durable" | undefined;
    const { id } = await session.db(step).checkpoint(scope === undefined ? {} : { scope });
    await session.bindChild(step, () => ({ kind: "checkpoint", id }));
  }),
  // deno-lint-ignore require-await -- every operation answers by a promise
  status: async (session, step) => ({ closeReason: reasonJson(session.opened(step).status.closeReason) }),
  plant: doing((session, step) => session.objects.plant(step)),
  storeCheck: doing((session, step) => session.objects.check(step)),
};
