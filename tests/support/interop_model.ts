/**
 * What a database that both engines write must hold, random writes for it, and the comparison of answers with it.
 *
 * Rows that expire lie under keys of their own and are only ever put and deleted. A row whose time has come may be seen
 * or not, as a rewrite decides; but one that is gone stays gone, and no older version takes its place.
 *
 * @module
 */
import type { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { fromHex, hex } from "./bytes.ts";
import type { BatchOp, PlainRow, Writer } from "./interop_official.ts";
import { keyOf } from "./interop_shapes.ts";
import { assert } from "./suite.ts";

/** 2100-01-01, ms. */
const FAR = 4_102_444_800_000;

/** A row as scans are compared: without times. */
interface UntimedRow {
  readonly key: string;
  readonly value: string;
  readonly seq: number;
}

/** A row without its times. */
function untimed({ key, value, seq }: PlainRow): UntimedRow {
  return { key, value, seq };
}

/** The rows that are there, and the sequence number that the next write must get. */
export class Model {
  readonly values: Map<string, string> = new Map();
  readonly touched: Map<string, number> = new Map();
  /** When rows expire, ms since 1970. */
  readonly expiries: Map<string, number> = new Map();
  nextSeq = 1;

  /** Applies one operation. */
  apply(op: BatchOp, seq: number): void {
    const key = String(op.key);
    this.touched.set(key, seq);
    this.expiries.delete(key);
    if (op.op === "delete") this.values.delete(key);
    else if (op.op === "merge") this.values.set(key, (this.values.get(key) ?? "") + String(op.value));
    else {
      this.values.set(key, String(op.value));
      if (typeof op.ttl === "object" && "atMillis" in op.ttl) this.expiries.set(key, op.ttl.atMillis);
    }
  }

  /** A copy of this moment. */
  copy(): Model {
    const copy = new Model();
    for (const [key, value] of this.values) copy.values.set(key, value);
    for (const [key, seq] of this.touched) copy.touched.set(key, seq);
    for (const [key, at] of this.expiries) copy.expiries.set(key, at);
    copy.nextSeq = this.nextSeq;
    return copy;
  }

  /** Rows as a full scan gives them. */
  rows(): UntimedRow[] {
    return [...this.values].sort(([a], [b]) => a < b ? -1 : 1).map(([key, value]) => ({
      key: hex(Buffer.from(key)),
      value: hex(Buffer.from(value)),
      seq: this.touched.get(key)!,
    }));
  }

  /** Fails unless `found` is what is there; forgets rows whose time had come and that are gone. */
  assertRows(found: readonly PlainRow[], what: string): void {
    const now = Date.now();
    const there = new Set(found.map((row) => row.key));
    for (const [key, at] of this.expiries) {
      if (at > now || there.has(hex(Buffer.from(key)))) continue;
      this.values.delete(key);
      this.expiries.delete(key);
    }
    assert.deepEqual(found.map(untimed), this.rows(), what);
  }
}

/** What random operations are drawn from. */
export interface Mix {
  /** Number of keys. */
  readonly keys: number;
  /** Share of merges; 0 when absent. */
  readonly merges?: number;
  /** Share of puts that expire soon; 0 when absent. */
  readonly expiring?: number;
}

/** `alone`: not in a batch, where the official engine loses a merge onto a put of another lifetime (K-23). */
function randomOp(dice: FaultDice, label: string, mix: Mix, alone: boolean): BatchOp {
  const { merges = 0, expiring = 0 } = mix;
  const key = keyOf(Math.floor(dice.next() * mix.keys));
  const kind = dice.next();
  const long = `${label} ${"w".repeat(Math.floor(dice.next() * 60))}`;
  if (kind < 0.2) return { op: "delete", key };
  if (kind < 0.2 + merges) return { op: "merge", key, value: `+${label}` };
  if (kind < 0.2 + merges + expiring) {
    const atMillis = Date.now() + Math.floor(dice.next() * 600);
    return { op: "put", key: `soon ${key}`, value: long, ttl: { atMillis } };
  }
  return { op: "put", key, value: long, ...(dice.next() < 0.1 && alone ? { ttl: { atMillis: FAR } } : {}) };
}

function single(writer: Writer, op: BatchOp): Promise<number> {
  if (op.op === "delete") return writer.delete(op.key);
  return op.op === "put" ? writer.put(op.key, op.value, op.ttl) : writer.merge(op.key, op.value, op.ttl);
}

/** Applies one to seven random operations at once; they must get the next sequence number. */
export async function randomWrite(
  writer: Writer,
  model: Model,
  dice: FaultDice,
  label: string,
  mix: Mix,
): Promise<void> {
  const ops = dice.next() < 0.8
    ? [randomOp(dice, label, mix, true)]
    : Array.from({ length: 2 + Math.floor(dice.next() * 6) }, () => randomOp(dice, label, mix, false));
  const seq = ops.length === 1 ? await single(writer, ops[0]!) : await writer.batch(ops);
  assert.equal(seq, model.nextSeq++, "sequence numbers have no gaps, whoever writes");
  for (const op of ops) model.apply(op, seq);
}

/** Fails unless the writer's scan and gets answer as the model does. */
export async function verify(writer: Writer, model: Model, what: string, mix: Mix): Promise<void> {
  model.assertRows(await writer.rows(), `${what}: scan`);
  const expiring = (mix.expiring ?? 0) > 0;
  for (let i = 0; i < mix.keys; i++) {
    for (const key of expiring ? [keyOf(i), `soon ${keyOf(i)}`] : [keyOf(i)]) {
      const row = await writer.get(key);
      const expected = model.values.get(key);
      const found = row === undefined ? undefined : Buffer.from(fromHex(row.value)).toString();
      if (found === undefined && (model.expiries.get(key) ?? Infinity) <= Date.now()) continue;
      assert.equal(found, expected, `${what}: get ${key}`);
    }
  }
}
