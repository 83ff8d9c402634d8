/**
 * Runs op-scripts on the interpreter of `phyllite exec`, step by step, and compares its answers.
 *
 * Only `advance` and `setClock` move the clock; between two steps nothing runs but what the step waited for. The
 * interpreter refuses fields that it would ignore, and the comparison expectations that it would: a script can never
 * ask for something and silently not get it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { errorKind } from "../../src/cli/exec/answers.ts";
import { Session, type TableSetup } from "../../src/cli/exec/session.ts";
import { checkStep } from "../../src/cli/exec/step_check.ts";
import { type Json, type Step, stepsOf } from "../../src/cli/exec/step_values.ts";
import { mergeOperatorNamed } from "../../src/cli/merge_operators.ts";
import type { CompactorOptions } from "../../mod.ts";
import { type VirtualClock, virtualClock } from "../../src/env/virtual_clock.ts";
import { compareAnswer, type Scenario, ttlOf } from "./op_script_values.ts";
import type { Place } from "./op_script_world.ts";

/**
 * Sizes to run with: the engine's defaults; so small that every script crosses layers; or those with a compactor and a
 * collector at work in the writer, which is idle before each step or in the middle of its work.
 */
export type Sizes = "default" | "tiny" | "compacting";

/** Small enough for several blocks and tables, large enough that one script's rows are not torn to single ones. */
const TINY = { blockSizeBytes: 1024, l0SstSizeBytes: 4096 };
/** The compactors of "compacting" scenarios, in turns. */
const COMPACTORS: readonly CompactorOptions[] = [
  { scheduler: "size-tiered", minCompactionSources: 2, maxSstBytes: 2048 },
  { scheduler: "leveled", minCompactionSources: 2, maxSstBytes: 2048, levelBaseBytes: 4096, levelMultiplier: 2 },
];

function tablesOf(sizes: Sizes, number: number): TableSetup {
  const compactor = COMPACTORS[number % 2]!;
  return {
    ...(sizes === "default" ? {} : TINY),
    ...(sizes === "compacting" ? { compactor, hasCollector: true } : {}),
    minor: compactor,
  };
}

/**
 * Runs one scenario from an empty store. Rejects with the step that went wrong.
 *
 * @param number which scenario of how many it is: decides between equally good ways to run it
 */
export async function runScenario(scenario: Scenario, place: Place, sizes: Sizes, number: number = 0): Promise<void> {
  const clock = virtualClock(0);
  const session = new Session({
    store: place.store,
    root: place.path,
    clock,
    settings: scenario.settings,
    mergeOperator: mergeOperatorNamed(scenario.mergeOperator),
    ttl: ttlOf(scenario),
    tables: tablesOf(sizes, number),
  });
  // Every other pair of scenarios meets the compactor at rest, the others while it works.
  const settling = sizes === "compacting" && number % 4 < 2 ? clock : undefined;
  try {
    for (const [at, step] of scenario.steps.entries()) {
      // A loop is unrolled, so that a failure names the one step of it.
      for (const { step: inner, i } of stepsOf(step)) {
        const where = step.op === "each" ? `step ${at + 1}, i = ${i}` : `step ${at + 1}`;
        await runStep(session, inner, settling, `${scenario.id}, ${where}: ${JSON.stringify(inner).slice(0, 200)}`);
      }
    }
  } finally {
    await session.end().catch(() => {});
    place.dispose();
  }
}

async function runStep(
  session: Session,
  step: Step,
  settling: VirtualClock | undefined,
  label: string,
): Promise<void> {
  const expected = step["expectError"] as string | undefined;
  let ok: Json;
  try {
    ok = await session.run(checkStep(step as unknown as Json));
    await settling?.settle();
    if (expected === undefined) compareAnswer(step, ok);
  } catch (error) {
    if (expected !== undefined && errorKind(error) === expected) return;
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`${label}: ${expected === undefined ? "" : `expected ${expected}, `}${text}`, { cause: error });
  }
  assert.ok(expected === undefined, `${label}: expected ${expected}, but it succeeded`);
}
