/**
 * Scenarios through `phyllite exec`: the flags that say what stands outside the steps, and the comparison of answers.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Answer } from "../../src/cli/exec/answers.ts";
import { type Step, stepsOf } from "../../src/cli/exec/step_values.ts";
import { compareAnswer, type Scenario, ttlOf } from "./op_script_values.ts";

/** The flags of a scenario on a virtual clock. */
export function execFlags(scenario: Scenario): string[] {
  const { settings, mergeOperator } = scenario;
  return [
    "--virtual-clock",
    "--ttl",
    ttlOf(scenario),
    ...(settings === undefined ? [] : ["--settings", JSON.stringify(settings)]),
    ...(mergeOperator === undefined ? [] : ["--merge-operator", mergeOperator]),
  ];
}

/** Whether a scenario tells the same on a clock that nobody moves. */
export function runsInRealTime({ steps }: Scenario): boolean {
  return !/"(?:advance|setClock|expectCreateTs|createTs|expireTs)"/.test(JSON.stringify(steps));
}

/** Compares the answers to all steps of a scenario with what they expect. */
export function compareAnswers(scenario: Scenario, answers: readonly Answer[]): void {
  assert.equal(answers.length, scenario.steps.length, `${scenario.id}: answers`);
  for (const [at, step] of scenario.steps.entries()) {
    const label = `${scenario.id}, step ${at + 1}: ${JSON.stringify(step).slice(0, 200)}`;
    const answer = answers[at]!;
    if (step.op !== "each") {
      compareOne(step, answer, label);
      continue;
    }
    assert.ok("ok" in answer, `${label}: ${JSON.stringify(answer)}`);
    const inner = [...stepsOf(step)];
    const list = answer.ok as unknown as readonly Answer[];
    assert.equal(list.length, inner.length, `${label}: answers of the loop`);
    inner.forEach(({ step: one, i }, n) => compareOne(one, list[n]!, `${label}, i = ${i}`));
  }
}

function compareOne(step: Step, answer: Answer, label: string): void {
  const expected = step["expectError"];
  if (expected !== undefined || "error" in answer) {
    return assert.equal("error" in answer ? answer.error : undefined, expected, `${label}: ${JSON.stringify(answer)}`);
  }
  try {
    compareAnswer(step, answer.ok);
  } catch (error) {
    throw new Error(`${label}: ${(error as Error).message}`, { cause: error });
  }
}
