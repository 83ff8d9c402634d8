/**
 * Op-scripts on real S3 servers: a sample, always the same for a server and a runtime, or all of them in all sizes with
 * `PHYLLITE_S3_ALL=1`.
 *
 * Time is virtual here too; only the requests take real time.
 *
 * @module
 */
import type { S3Store } from "../../src/s3.ts";
import { CAPABILITIES } from "../op_scripts/skips.ts";
import { runScenario, type Sizes } from "../support/op_script_runner.ts";
import type { Scenario, ScriptFile } from "../support/op_script_values.ts";
import { after, assert, before, it } from "../support/suite.ts";
import aeternusdb from "../testdata/op_scripts/aeternusdb-behaviours.json" with { type: "json" };
import slatedb from "../testdata/op_scripts/slatedb-behaviours.json" with { type: "json" };
import { ALL, describeOnServers, freshFolder, s3Places, s3Store, storeOptions } from "./places.ts";

const SCENARIOS: readonly Scenario[] = [aeternusdb, slatedb]
  .flatMap((file) => (file as unknown as ScriptFile).scenarios)
  .filter(({ requires }) => requires.every((capability) => CAPABILITIES.has(capability)));
const SIZES: readonly Sizes[] = ["default", "tiny", "compacting"];
/** One of so many scenarios is in the sample of a server and a runtime; the four samples have none in common. */
const SAMPLE_OF = 16;
const RUNTIME = "Deno" in globalThis ? 0 : 1;

/** What runs here: scenarios with their number and sizes. */
function chosen(server: number): Array<readonly [number, Scenario, Sizes]> {
  const all = SCENARIOS.map((scenario, number) => [number, scenario] as const);
  if (ALL) return all.flatMap(([number, scenario]) => SIZES.map((sizes) => [number, scenario, sizes] as const));
  return all.filter(([number]) => number % SAMPLE_OF === 2 * server + RUNTIME)
    .map(([number, scenario]) => [number, scenario, SIZES[Math.floor(number / SAMPLE_OF) % SIZES.length]!] as const);
}

describeOnServers("op-scripts", (place) => {
  let store: S3Store;
  before(() => {
    store = s3Store(storeOptions(place));
  });
  after(() => store.close());
  const samples = chosen(s3Places().findIndex(({ kind }) => kind === place.kind));
  for (const [number, scenario, sizes] of samples) {
    it(`${scenario.id}, ${sizes} sizes: ${scenario.title}`, () =>
      runScenario(scenario, { store, path: freshFolder(), dispose: () => {} }, sizes, number));
  }
  it("op-scripts have scenarios of every size in the sample", () => {
    assert.deepEqual(new Set(samples.map(([, , sizes]) => sizes)), new Set(SIZES));
  });
});
