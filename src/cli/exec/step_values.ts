/**
 * The notation of op-scripts: steps, bytes, loops, runs of pairs.
 *
 * Everything here takes values whose form has been checked (`step_check.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** A parsed JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** One step, fields as they are written. */
export interface Step {
  readonly op: string;
  readonly [field: string]: Json;
}

/** Settings of the writers that `open` steps open; absent ones are the engine's defaults. */
export interface ScriptSettings {
  /** null: the log is written by `flush` and `close` only. */
  readonly flushIntervalMs?: number | null;
  readonly walEnabled?: boolean;
  readonly defaultTtlMs?: number | null;
  readonly l0SstSizeBytes?: number;
  /** How range deletes are stored. */
  readonly rangeDeletes?: "native" | "expand";
}

/** A step of a loop, filled in. */
export interface LoopStep {
  readonly step: Step;
  /** The counter. */
  readonly i: number;
}

const encoder = new TextEncoder();

/** The bytes that a value of the notation stands for. */
export function bytesOf(value: Json): Uint8Array {
  if (typeof value === "string") return encoder.encode(value);
  const { hex, repeat, repeatHex, count, u64le } = value as { readonly [name: string]: Json };
  if (hex !== undefined) return fromHex(hex as string);
  if (repeat !== undefined) return repeated(encoder.encode(repeat as string), count as number);
  if (repeatHex !== undefined) return repeated(fromHex(repeatHex as string), count as number);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(u64le as number), true);
  return bytes;
}

function fromHex(digits: string): Uint8Array {
  return new Uint8Array(Buffer.from(digits, "hex"));
}

function repeated(unit: Uint8Array, count: number): Uint8Array {
  const bytes = new Uint8Array(unit.length * count);
  for (let at = 0; at < bytes.length; at += unit.length) bytes.set(unit, at);
  return bytes;
}

/** The step that a loop runs for `i`: `{i}` and `{i:0W}` replaced in every string that is not hex. */
export function instantiate<A extends Json>(template: A, i: number): A {
  if (typeof template === "string") {
    return template.replace(/\{i(?::0(\d{1,3}))?\}/g, (_, width?: string) => {
      return width === undefined ? `${i}` : `${i}`.padStart(Number(width), "0");
    }) as A;
  }
  if (typeof template !== "object" || template === null) return template;
  if (Array.isArray(template)) return template.map((item) => instantiate(item as Json, i)) as unknown as A;
  // A run of pairs counts for itself.
  if (Object.hasOwn(template, "kv")) return template;
  return Object.fromEntries(
    Object.entries(template).map(([name, item]) => [name, /hex/i.test(name) ? item : instantiate(item as Json, i)]),
  ) as A;
}

/** The steps that a step stands for: itself, or those of a loop, made one by one. */
export function* stepsOf(step: Step): Generator<LoopStep> {
  if (step.op !== "each") return yield { step, i: 0 };
  const { from, count, step: by = 1 } = step;
  for (let n = 0; n < (count as number); n++) {
    const i = (from as number) + n * (by as number);
    for (const inner of step["do"] as readonly Json[]) yield { step: instantiate(inner, i) as unknown as Step, i };
  }
}

/** The pairs of a list, runs expanded one by one. */
export function* pairsOf(list: Json): Generator<readonly [key: Json, value: Json]> {
  for (const item of list as readonly Json[]) {
    if (Array.isArray(item)) {
      yield [item[0]!, item[1]!];
      continue;
    }
    const { from, count, step = 1, kv } = item as unknown as { from: number; count: number; step?: number; kv: Json };
    for (let n = 0; n < count; n++) {
      const [key, value] = instantiate(kv, from + n * step) as readonly Json[];
      yield [key!, value!];
    }
  }
}
