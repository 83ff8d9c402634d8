/**
 * Scenarios, and what they expect of the answers to their steps.
 *
 * @module
 */
import assert from "node:assert/strict";
import { toHex } from "../../src/bytes/hex.ts";
import { bytesOf, type Json, pairsOf, type ScriptSettings, type Step } from "../../src/cli/exec/step_values.ts";

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

/** A file of scenarios. */
export interface ScriptFile {
  readonly scenarios: readonly Scenario[];
}

/** How expired rows are read in a scenario: one group holds the answers of SlateDB. */
export function ttlOf({ group }: Pick<Scenario, "group">): "slatedb" | "strict" {
  return group === "ttl" ? "slatedb" : "strict";
}

/** Bytes as answers have them. */
function answered(bytes: Json): Json {
  return { hex: toHex(bytesOf(bytes)) };
}

/** The pairs of an expected result list as answers have them, runs expanded. */
export function expectedPairs(list: Json): Json[] {
  return [...pairsOf(list)].map(([key, value]) => [answered(key), answered(value)]);
}

/** Fields of `getKeyValue`, of which only those given are compared. */
const ENTRY_FIELDS = ["value", "seq", "createTs", "expireTs", "expiresAfter"];

function compareEntry(expected: Json, ok: Json): void {
  if (expected === null || ok === null) return assert.deepEqual(ok, expected, "absent");
  for (const [field, want] of Object.entries(expected as { readonly [name: string]: Json })) {
    assert.ok(ENTRY_FIELDS.includes(field), `unknown field ${field}`);
    const found: Json | undefined = (ok as { readonly [name: string]: Json })[field];
    assert.deepEqual(found, field === "value" ? answered(want) : want, field);
  }
}

/** How `expect` is compared with an answer, by operation. */
const COMPARISONS: Readonly<Record<string, (expected: Json, ok: Json) => void>> = {
  get: (expected, ok) => assert.deepEqual(ok, expected === null ? null : answered(expected)),
  getKeyValue: compareEntry,
  scan: (expected, ok) => assert.deepEqual(ok, expectedPairs(expected)),
  next: (expected, ok) => assert.deepEqual(ok, expected === null ? null : expectedPairs([expected])[0]),
  commit: (expected, ok) => assert.equal((ok as { readonly result: string }).result, expected),
  status: (expected, ok) => assert.deepEqual(ok, expected),
};
/** Operations whose `expect` must not be left out. */
const COMPARED = new Set(["get", "getKeyValue", "scan", "next", "status"]);
const EXPECTATIONS = new Set(["expect", "expectSeq", "expectCreateTs", "expectError"]);

/**
 * Compares what stands under `ok` of the answer to a step with everything that the step expects. Expectations that
 * nobody would compare fail.
 */
export function compareAnswer(step: Step, ok: Json): void {
  const unknown = Object.keys(step).filter((name) => name.startsWith("expect") && !EXPECTATIONS.has(name));
  assert.deepEqual(unknown, [], "unknown expectations");
  const { seq, createTs } = (ok ?? {}) as { readonly seq?: number; readonly createTs?: number };
  if (step["expectSeq"] !== undefined) assert.equal(seq, step["expectSeq"], "sequence number");
  if (step["expectCreateTs"] !== undefined) assert.equal(createTs, step["expectCreateTs"], "creation time");
  const expected = step["expect"];
  if (expected === undefined) return assert.ok(!COMPARED.has(step.op), `${step.op} without expect`);
  const compare = COMPARISONS[step.op];
  assert.ok(compare !== undefined, `${step.op} has no expect`);
  compare(expected, ok);
}
