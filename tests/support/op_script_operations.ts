/**
 * What each operation of an op-script does, and which fields it understands.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Isolation } from "../../src/db/transaction_api.ts";
import { hex } from "./bytes.ts";
import { batchOf, checkEntry, readOptions, rowOptions, rowsOf, scanOf, writeOptions } from "./op_script_calls.ts";
import type { ScenarioRun } from "./op_script_runner.ts";
import type { Json } from "./op_script_schema.ts";
import { bytesOf, expectedPairs, type Step } from "./op_script_values.ts";

/** How an operation is interpreted, and which fields it understands besides `op` and `expectError`. */
export interface Operation {
  readonly fields: readonly string[];
  readonly run: (self: ScenarioRun, step: Step) => Promise<void>;
}

const operation = (fields: string, run: Operation["run"]): Operation => ({ fields: fields.split(" "), run });
const WRITE_FIELDS = "on awaitDurable expectSeq expectCreateTs";
const RANGE_FIELDS = "on from to fromInclusive toInclusive prefix order durability";

/** Operations by name. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  open: operation("as settings memtableBytes", (self, step) => self.open(step)),
  close: operation("on", (self, step) => self.closable(step).close()),
  crash: operation("on at", (self, step) => self.crash(step)),
  put: operation(`key value ttl ${WRITE_FIELDS}`, (self, step) => {
    const [key, value] = [bytesOf(step["key"]!), bytesOf(step["value"]!)];
    return self.wroteIn(step, (tx) => tx.put(key, value, rowOptions(step))) ??
      self.wrote(step, self.db(step).put(key, value, writeOptions(step)));
  }),
  merge: operation(`key value ttl ${WRITE_FIELDS}`, (self, step) => {
    const [key, value] = [bytesOf(step["key"]!), bytesOf(step["value"]!)];
    return self.wroteIn(step, (tx) => tx.merge(key, value, rowOptions(step))) ??
      self.wrote(step, self.db(step).merge(key, value, writeOptions(step)));
  }),
  delete: operation(`key ${WRITE_FIELDS}`, (self, step) => {
    const key = bytesOf(step["key"]!);
    return self.wroteIn(step, (tx) => tx.delete(key)) ??
      self.wrote(step, self.db(step).delete(key, writeOptions(step)));
  }),
  write: operation(
    `ops ${WRITE_FIELDS}`,
    (self, step) =>
      self.wrote(step, self.db(step).write(batchOf(step["ops"] as unknown as Step[]), writeOptions(step))),
  ),
  get: operation("on key durability expect", async (self, step) => {
    const value = await self.reads(step).get(bytesOf(step["key"]!), readOptions(step));
    assert.equal(
      value === undefined ? null : hex(value),
      step["expect"] === null ? null : hex(bytesOf(step["expect"]!)),
    );
  }),
  getKeyValue: operation("on key expect", (self, step) => checkEntry(self.reads(step), step)),
  scan: operation(`${RANGE_FIELDS} limit expect`, async (self, step) => {
    assert.deepEqual(
      await rowsOf(scanOf(self.reads(step), step), step["limit"] as number | undefined),
      expectedPairs(step["expect"]!),
    );
  }),
  iter: operation(`${RANGE_FIELDS} as`, (self, step) => {
    self.bind(step["as"] as string, { kind: "iterator", iterator: scanOf(self.reads(step), step).iterator() });
    return Promise.resolve();
  }),
  next: operation("on expect", async (self, step) => {
    const row = await self.iterator(step).next();
    const expected = step["expect"] === null ? undefined : expectedPairs([step["expect"]!])[0];
    assert.deepEqual(row === undefined ? undefined : [hex(row.key), hex(row.value)], expected);
  }),
  seek: operation("on key", (self, step) => self.iterator(step).seek(bytesOf(step["key"]!))),
  snapshot: operation("on as", async (self, step) => {
    self.bind(step["as"] as string, { kind: "snapshot", reads: await self.db(step).snapshot() });
  }),
  release: operation("on", (self, step) => {
    self.snapshot(step).release();
    return Promise.resolve();
  }),
  begin: operation("as isolation", async (self, step) => {
    const isolation = step["isolation"] as Isolation;
    self.bind(step["as"] as string, {
      kind: "transaction",
      reads: await self.db({ op: "begin" }).begin({ isolation }),
    });
  }),
  markRead: operation("on keys", (self, step) => self.transaction(step).markRead(keysOf(step))),
  unmarkWrite: operation("on keys", (self, step) => self.transaction(step).unmarkWrite(keysOf(step))),
  commit: operation("on awaitDurable expect expectSeq", async (self, step) => {
    const result = await self.transaction(step).commit({ durable: step["awaitDurable"] !== false });
    if (step["expect"] !== undefined) assert.equal(result === undefined ? "nothing" : "written", step["expect"]);
    if (step["expectSeq"] !== undefined) assert.equal(result?.seq, step["expectSeq"], "sequence number");
  }),
  rollback: operation("on", (self, step) => self.transaction(step).rollback()),
  flush: operation("on kind", (self, step) => self.db(step).flush({ kind: step["kind"] as "wal" | "memtable" })),
  advance: operation("ms", (self, step) => self.clock.advance(step["ms"] as number)),
  setClock: operation("ms", (self, step) => self.clock.set(step["ms"] as number)),
  compact: operation("on kind", (self, step) => self.compact(step)),
  gc: operation("on", async (self, step) => {
    const report = await self.db(step).collectGarbage();
    assert.equal(report.stopped, undefined);
  }),
  plant: operation(
    "kind entries",
    (self, step) => self.objects.plant(step["kind"] as string, expectedPairs(step["entries"] ?? [])),
  ),
  storeCheck: operation(
    "minTables noTempObjects allReferencedExist unreferencedTables remember fewerTablesThan",
    (self, step) => self.objects.check(step),
  ),
  openReader: operation("as checkpoint skipWalReplay", (self, step) => self.openReader(step)),
  poll: operation("on", async (self, step) => {
    await self.reader(step).refresh();
  }),
  checkpoint: operation("on as scope", async (self, step) => {
    const { id } = await self.db(step).checkpoint({ scope: step["scope"] as "all" | "durable" });
    self.bind(step["as"] as string, { kind: "checkpoint", id });
  }),
  status: operation("on expect", (self, step) => {
    const reason = self.closable(step).status.closeReason;
    const { closeReason } = step["expect"] as { readonly closeReason: string | null };
    assert.equal(reason ?? null, closeReason?.toLowerCase() ?? null);
    return Promise.resolve();
  }),
};

const keysOf = (step: Step) => (step["keys"] as readonly Json[]).map(bytesOf);
