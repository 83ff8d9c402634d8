/**
 * The merge operators that the command line knows by name.
 *
 * `concat` appends the operand to what is there; `u64add` adds 8-byte little-endian integers, absent counts as 0, sums
 * wrap at 2 ** 64 as in SlateDB's examples. `prefixRouted` chooses by the key, as op-scripts have it: sums below "sum:",
 * the greatest of such integers below "max:", else concatenation.
 *
 * @module
 */
import type { MergeFunction } from "../db/api.ts";

/** Existing bytes, then the operand. */
const concat: MergeFunction = (_key, existing, operand) => {
  if (existing === undefined) return operand;
  const joined = new Uint8Array(existing.length + operand.length);
  joined.set(existing);
  joined.set(operand, existing.length);
  return joined;
};

const u64add: MergeFunction = (key, existing, operand) => {
  const sum = (existing === undefined ? 0n : read(key, existing)) + read(key, operand);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, sum), true);
  return bytes;
};

const u64max: MergeFunction = (key, existing, operand) =>
  existing === undefined || read(key, operand) > read(key, existing) ? operand : existing;

const prefixRouted: MergeFunction = (key, existing, operand) => {
  const prefix = String.fromCharCode(...key.subarray(0, 4));
  const route = prefix === "sum:" ? u64add : prefix === "max:" ? u64max : concat;
  return route(key, existing, operand);
};

function read(key: Uint8Array, bytes: Uint8Array): bigint {
  if (bytes.length !== 8) {
    throw new Error(`8-byte integers are folded here, and a key of ${key.length} bytes has one of ${bytes.length}`);
  }
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
}

const OPERATORS: Readonly<Record<string, MergeFunction>> = { concat, u64add, prefixRouted };

/** The operator of that name; undefined stays undefined. */
export function mergeOperatorNamed(name: string | undefined): MergeFunction | undefined {
  return name === undefined ? undefined : OPERATORS[name];
}
