/**
 * The steps of op-scripts as calls of the public Promise API.
 *
 * @module
 */
import assert from "node:assert/strict";
import { WriteBatch } from "../../mod.ts";
import type { KeyRange, Reads, Scan, ScanOptions, Ttl } from "../../src/db/api.ts";
import { hex } from "./bytes.ts";
import type { Json } from "./op_script_schema.ts";
import { bytesOf, type Step } from "./op_script_values.ts";

function ttlOf(value: Json | undefined): { readonly ttl?: Ttl } {
  if (value === undefined) return {};
  if (typeof value === "string") return { ttl: value as "default" | "none" };
  const { after, at } = value as { readonly after?: number; readonly at?: number };
  return { ttl: after !== undefined ? { afterMillis: after } : { atMillis: at! } };
}

/** What a put or merge inside a transaction takes. */
export function rowOptions(step: Step): { readonly ttl?: Ttl } {
  return ttlOf(step["ttl"]);
}

/** Options of a write. */
export function writeOptions(step: Step): { readonly durable: boolean; readonly ttl?: Ttl } {
  return { durable: step["awaitDurable"] !== false, ...ttlOf(step["ttl"]) };
}

/** Options of a read. */
export function readOptions(step: Step): { readonly durability?: "memory" | "durable" } {
  const durability = step["durability"];
  return durability === undefined ? {} : { durability: durability === "remote" ? "durable" : "memory" };
}

/** The batch that `ops` describe. */
export function batchOf(ops: readonly Step[]): WriteBatch {
  const batch = new WriteBatch();
  for (const { op, key, value, ttl, ...rest } of ops) {
    assert.deepEqual(Object.keys(rest), [], "unknown fields in a batch");
    if (op === "put") batch.put(bytesOf(key!), bytesOf(value!), ttlOf(ttl));
    else if (op === "merge") batch.merge(bytesOf(key!), bytesOf(value!), ttlOf(ttl));
    else if (op === "delete") batch.delete(bytesOf(key!));
    else throw new Error(`no ${op} in a batch`);
  }
  return batch;
}

/** The scan of a step. */
export function scanOf(reads: Reads, step: Step): Scan {
  const { from, to, fromInclusive = true, toInclusive = false, prefix, order } = step;
  const range: KeyRange = {
    ...(from === undefined ? {} : fromInclusive ? { gte: bytesOf(from) } : { gt: bytesOf(from) }),
    ...(to === undefined ? {} : toInclusive ? { lte: bytesOf(to) } : { lt: bytesOf(to) }),
    ...(prefix === undefined ? {} : { prefix: bytesOf(prefix) }),
  };
  const options: ScanOptions = {
    ...(order === undefined ? {} : { order: order as "ascending" | "descending" }),
    ...readOptions(step),
  };
  return reads.scan(range, options);
}

/** All rows, or the first `limit` with the iterator dropped after them. */
export async function rowsOf(scan: Scan, limit: number | undefined): Promise<Array<[string, string]>> {
  if (limit === undefined) return (await scan.toArray()).map(({ key, value }) => [hex(key), hex(value)]);
  const rows: Array<[string, string]> = [];
  const iterator = scan.iterator();
  while (rows.length < limit) {
    const row = await iterator.next();
    if (row === undefined) break;
    rows.push([hex(row.key), hex(row.value)]);
  }
  await iterator.return();
  return rows;
}

/** Reads an entry and compares the fields that are expected of it. */
export async function checkEntry(reads: Reads, step: Step): Promise<void> {
  const entry = await reads.getEntry(bytesOf(step["key"]!));
  const expected = step["expect"] as { readonly [field: string]: Json } | null;
  if (expected === null) return assert.equal(entry, undefined);
  assert.ok(entry !== undefined, "absent");
  const found: Record<string, Json> = {
    value: hex(entry.value),
    seq: entry.seq,
    createTs: entry.createdAt,
    expireTs: entry.expiresAt ?? null,
    expiresAfter: entry.expiresAt === undefined ? null : entry.expiresAt - entry.createdAt,
  };
  for (const [field, want] of Object.entries(expected)) {
    assert.ok(Object.hasOwn(found, field), `unknown field ${field}`);
    assert.equal(found[field], field === "value" ? hex(bytesOf(want)) : want, field);
  }
}
