/**
 * What the tests of transactions have in common: text in and out, errors, and a merge operator.
 *
 * @module
 */
import { Effect } from "effect";
import { open } from "../../mod.ts";
import type { Db, Entry, MergeFunction, Reads } from "../../src/db/api.ts";
import { Database } from "../../src/db/database.ts";
import { resolveLocation } from "../../src/db/location.ts";
import { openEngine } from "../../src/db/open.ts";
import { type OpenOptions, resolveOptions } from "../../src/db/options.ts";
import { TransactionConflict } from "../../src/errors.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert } from "../support/suite.ts";
import type { World } from "./fault_world.ts";

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The text of a value, undefined stays. */
export function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : decoder.decode(value);
}

/** Rows as "key=value". */
export function rows(entries: readonly Entry[]): string[] {
  return entries.map(({ key, value }) => `${text(key)}=${text(value)}`);
}

/** All rows of something that can be read. */
export async function allOf(reads: Reads): Promise<string> {
  return rows(await reads.scan().toArray()).join(" ");
}

/** Appends; a value "!" makes it throw. */
export const append: MergeFunction = (_key, existing, operand) => {
  if (text(operand) === "!") throw new Error("refused by the operator");
  return encoder.encode(`${text(existing) ?? ""}${text(operand)}`);
};

/** A database in memory that writes of tests are done in, without waiting for the store. */
export async function withDb(body: (db: Db) => Promise<void>, options: OpenOptions = {}): Promise<void> {
  const db = await open({ store: memoryStore(), path: "" }, {
    compactor: false,
    garbageCollector: false,
    mergeOperator: append,
    ...options,
  });
  try {
    await body(db);
  } finally {
    if (db.status.closeReason === undefined) await db.close();
  }
}

/** A database below its faces. */
export function openDatabase(world: World, options: OpenOptions = {}): Promise<Database> {
  return world.get(Effect.runPromise(Effect.gen(function* () {
    const place = yield* resolveLocation({ store: world.store, path: "" });
    return new Database(yield* openEngine(place, resolveOptions({ ...world.options, ...options })));
  })));
}

/** Puts "key=value" pairs one by one. */
export async function fill(db: Db, ...pairs: string[]): Promise<void> {
  for (const pair of pairs) {
    const [key, value] = pair.split("=") as [string, string];
    await db.put(key, value);
  }
}

/** The conflict that a promise must fail with. */
export async function conflictOf(promise: Promise<unknown>, reason?: string): Promise<TransactionConflict> {
  const error = await promise.then((value) => assert.fail(`it succeeded with ${value}`), (thrown) => thrown);
  assert.ok(error instanceof TransactionConflict, String(error));
  if (reason !== undefined) assert.equal(error.reason, reason);
  return error;
}

/** Expects a typed refusal. */
export async function refused(promise: Promise<unknown>, tag: string, reason: string): Promise<void> {
  const error = await promise.then((value) => assert.fail(`it succeeded with ${value}`), (thrown) => thrown);
  assert.deepEqual([error._tag, error.reason], [tag, reason], String(error));
}
