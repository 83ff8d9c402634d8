/**
 * Every op-script on every store and with all sizes; and the runner's own duties.
 *
 * @module
 */
import process from "node:process";
import aeternusdb from "../testdata/op_scripts/aeternusdb-behaviours.json" with { type: "json" };
import schema from "../testdata/op_scripts/op-script.schema.json" with { type: "json" };
import slatedb from "../testdata/op_scripts/slatedb-behaviours.json" with { type: "json" };
import { runScenario, type Sizes } from "../support/op_script_runner.ts";
import { type Json, validate } from "../support/op_script_schema.ts";
import type { Scenario, ScriptFile } from "../support/op_script_values.ts";
import { PLACES } from "../support/op_script_world.ts";
import { canUseDisk } from "../support/permissions.ts";
import { after, assert, describe, it } from "../support/suite.ts";
import { CAPABILITIES, SKIPPED } from "./skips.ts";

const FILES: Readonly<Record<string, ScriptFile>> = {
  "aeternusdb-behaviours.json": aeternusdb as unknown as ScriptFile,
  "slatedb-behaviours.json": slatedb as unknown as ScriptFile,
};

/** Stores and sizes. Where another runtime goes all of the ways in the same run, two of them are enough. */
const WAYS: ReadonlyArray<readonly [keyof typeof PLACES, Sizes]> =
  canUseDisk() && process.env["PHYLLITE_OP_SCRIPTS"] === "some"
    ? [["memory", "tiny"], ["file", "default"]]
    : [["memory", "default"], ["memory", "tiny"], ["file", "default"], ["file", "tiny"], ["memory", "compacting"]];

const missing = (scenario: Scenario) => scenario.requires.filter((capability) => !CAPABILITIES.has(capability));

for (const [name, { scenarios }] of Object.entries(FILES)) {
  const runnable = scenarios.filter((scenario) => missing(scenario).length === 0);
  const skipped = scenarios.filter((scenario) => missing(scenario).length > 0);

  describe(`op-scripts ${name}`, () => {
    it("op-scripts fit their schema", () => {
      assert.deepEqual(validate(schema as unknown as Json, FILES[name] as unknown as Json), []);
      assert.equal(new Set(scenarios.map((scenario) => scenario.id)).size, scenarios.length, "ids are unique");
    });
    it("op-scripts skip exactly what the committed list says", () => {
      const by: Record<string, number> = {};
      for (const capability of skipped.flatMap(missing).sort()) by[capability] = (by[capability] ?? 0) + 1;
      assert.deepEqual({ total: skipped.length, by }, SKIPPED[name]);
      const counts = Object.entries(by).map(([capability, count]) => `${capability} ${count}`).join(", ");
      console.log(`op-scripts ${name}: ${skipped.length} of ${scenarios.length} skipped, by capability: ${counts}`);
    });
  });

  for (const [place, sizes] of WAYS) runOn(name, runnable, skipped.length, place, sizes);
}

function runOn(
  name: string,
  scenarios: readonly Scenario[],
  skippedCount: number,
  place: keyof typeof PLACES,
  sizes: Sizes,
): void {
  const skip = place === "file" && !canUseDisk() ? "needs to use files (deno test -A)" : false;
  describe(`op-scripts ${name}, ${place} store, ${sizes} sizes`, { skip }, () => {
    const failed = new Set<string>();
    let executed = 0;
    for (const [number, scenario] of scenarios.entries()) {
      it(`${scenario.id}: ${scenario.title}`, async () => {
        executed++;
        failed.add(scenario.id);
        await runScenario(scenario, PLACES[place](), sizes, number);
        failed.delete(scenario.id);
      });
    }
    it("op-scripts were executed or skipped, none forgotten", () => {
      assert.equal(executed + skippedCount, FILES[name]!.scenarios.length);
    });
    after(() => {
      const counts = `executed ${executed}, skipped ${skippedCount}, failed ${failed.size}`;
      console.log(`op-scripts ${name}, ${place} store, ${sizes} sizes: ${counts}`);
    });
  });
}
