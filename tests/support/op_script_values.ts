/**
 * The notation of op-scripts: bytes, loops, expected pairs, merge operators, error kinds.
 *
 * @module
 */
import { fromHex, hex } from "./bytes.ts";
import { Closed, DataError, InvalidArgument, TransactionConflict } from "../../src/errors.ts";
import type { MergeFunction } from "../../src/db/api.ts";
import type { Json } from "./op_script_schema.ts";

/** One step of a scenario, fields as in the file. */
export interface Step {
  readonly op: string;
  readonly [field: string]: Json;
}

/** One scenario. */
export interface Scenario {
  readonly id: string;
  readonly group: string;
  readonly title: string;
  readonly requires: readonly string[];
  readonly settings?: ScriptSettings;
  readonly mergeOperator?: string;
  readonly steps: readonly Step[];
}

/** Settings of a scenario or of one `open`. */
export interface ScriptSettings {
  readonly flushIntervalMs?: number | null;
  readonly walEnabled?: boolean;
  readonly defaultTtlMs?: number | null;
  readonly l0SstSizeBytes?: number;
}

/** A file of scenarios. */
export interface ScriptFile {
  readonly scenarios: readonly Scenario[];
}

/** Key and value as hex: easy to compare, and to read in a failure. */
export type HexPair = readonly [key: string, value: string];

/** The bytes that a value of the notation stands for. */
export function bytesOf(value: Json): Uint8Array {
  if (typeof value === "string") return new TextEncoder().encode(value);
  const form = value as { readonly [name: string]: string | number };
  if (form["hex"] !== undefined) return fromHex(form["hex"] as string);
  if (form["repeat"] !== undefined) return bytesOf((form["repeat"] as string).repeat(form["count"] as number));
  if (form["repeatHex"] !== undefined) return fromHex((form["repeatHex"] as string).repeat(form["count"] as number));
  if (form["u64le"] !== undefined) return u64le(BigInt(form["u64le"]));
  throw new Error(`no bytes: ${JSON.stringify(value)}`);
}

/** The step that a loop runs for `i`: `{i}` and `{i:0W}` replaced in every string that is not hex. */
export function instantiate<A extends Json>(template: A, i: number): A {
  if (typeof template === "string") {
    return template.replace(/\{i(?::0(\d+))?\}/g, (_, width?: string) => {
      return width === undefined ? `${i}` : `${i}`.padStart(Number(width), "0");
    }) as A;
  }
  if (typeof template !== "object" || template === null) return template;
  if (Array.isArray(template)) return template.map((item) => instantiate(item as Json, i)) as unknown as A;
  // A run of expected pairs counts for itself.
  if (Object.hasOwn(template, "kv")) return template;
  return Object.fromEntries(
    Object.entries(template).map(([name, item]) => [name, /hex/i.test(name) ? item : instantiate(item as Json, i)]),
  ) as A;
}

/** The pairs of an expected result list, runs expanded. */
export function expectedPairs(list: Json): HexPair[] {
  return (list as readonly Json[]).flatMap((item): HexPair[] => {
    if (Array.isArray(item)) return [[hex(bytesOf(item[0]!)), hex(bytesOf(item[1]!))]];
    const { from, count, step = 1, kv } = item as unknown as { from: number; count: number; step?: number; kv: Json };
    return Array.from({ length: count }, (_, n): HexPair => {
      const [key, value] = instantiate(kv, from + n * step) as readonly Json[];
      return [hex(bytesOf(key!)), hex(bytesOf(value!))];
    });
  });
}

/** Values of a loop's counter. */
export function loopCounts(step: Step): number[] {
  const from = step["from"] as number;
  const by = (step["step"] ?? 1) as number;
  return Array.from({ length: step["count"] as number }, (_, n) => from + n * by);
}

function u64le(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

function asU64(bytes: Uint8Array | undefined): bigint {
  if (bytes === undefined) return 0n;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true);
}

const concat: MergeFunction = (_, existing, operand) => {
  const joined = new Uint8Array((existing?.length ?? 0) + operand.length);
  if (existing !== undefined) joined.set(existing);
  joined.set(operand, existing?.length ?? 0);
  return joined;
};
const u64add: MergeFunction = (_, existing, operand) => u64le(asU64(existing) + asU64(operand));
const u64max: MergeFunction = (_, existing, operand) => {
  const [old, add] = [asU64(existing), asU64(operand)];
  return u64le(old > add ? old : add);
};
const prefixRouted: MergeFunction = (key, existing, operand) => {
  const text = new TextDecoder().decode(key);
  const route = text.startsWith("sum:") ? u64add : text.startsWith("max:") ? u64max : concat;
  return route(key, existing, operand);
};

/** The merge operators that scenarios name. */
export const MERGE_OPERATORS: Readonly<Record<string, MergeFunction>> = { concat, u64add, prefixRouted };

/** The kind that an error stands for in the notation; undefined for one that no scenario may expect. */
export function errorKind(error: unknown): string | undefined {
  if (error instanceof InvalidArgument) {
    return error.reason === "merge-operator-missing" ? "MergeOperatorMissing" : "InvalidArgument";
  }
  if (error instanceof Closed) return { clean: "Closed", fenced: "Fenced", failed: undefined }[error.reason];
  if (error instanceof TransactionConflict) return "Conflict";
  if (error instanceof DataError) return "Data";
  return undefined;
}
