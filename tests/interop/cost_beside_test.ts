/**
 * What both engines ask of S3, counted in the same run, each on a simulator of its own.
 *
 * Small sizes, as `bench/s3_cost.ts` counts them in full; the simulator lies in the shared folder beside the checkout.
 * Exact counts of ours alone are asserted by `tests/db/cost_test.ts` and `cost_reads_test.ts`.
 */
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { COST_GOALS, costLimit } from "../../bench/cost_goals.ts";
import type { RuntimeBinary } from "../../bench/programs.ts";
import type { CostSize } from "../../bench/s3_cost.ts";
import { countOnS3, OURS } from "../../bench/s3_cost_run.ts";
import type { Sample } from "../../bench/statistics.ts";
import { officialMissing } from "../support/interop_official.ts";
import { sharedPath } from "../support/shared.ts";
import { assert, before, describe, it } from "../support/suite.ts";

/** Few rows in few tables, so slowly that a busy machine keeps up: what is left of a stream is its log. */
const SIZE: CostSize = {
  rows: 20_000,
  reads: 200,
  restSeconds: 5,
  trickleSeconds: 4,
  smallMB: 3,
  smallMBps: 0.5,
  largeMB: 72,
  largeMBps: 72,
  smallTables: 2,
  // So large that it goes up in parts.
  largeTables: 1,
  quietSeconds: 1,
  durableWrites: 10,
  logObjects: 8,
};

const driver = sharedPath("peerbench/s3sim.mjs");
const skip = officialMissing() || (driver === undefined ? "left out: shared/peerbench/s3sim.mjs is not there" : false);

describe("interop: requests on S3 beside the official engine", { skip }, () => {
  let counts: Record<string, Readonly<Record<string, number>>> = {};

  before(async () => {
    if (skip !== false) return;
    const folder = dirname(driver!);
    const samples = await countOnS3({
      driverFolder: folder,
      peers: process.env["PHYLLITE_INTEROP"]!,
      runtimes: [thisRuntime()],
      adapters: {
        slatedb: join(folder, "adapters", "slatedb.mjs"),
        [OURS]: fileURLToPath(new URL("../../bench/ours.ts", import.meta.url)),
      },
      size: SIZE,
      isHurried: true,
    });
    counts = Object.fromEntries(samples.map((sample) => [sample.contender, resultsOf(sample)]));
  });

  const ours = (name: string): number => counted(counts[OURS], name);
  const theirs = (name: string): number => counted(counts["slatedb"], name);
  /** Ours keeps the limit of the goal; where that is a number, it is also better than, or as good as, the official. */
  const holds = (id: string, metric: string): void => {
    const goal = COST_GOALS.find((one) => one.id === id && one.metric === metric);
    assert.ok(goal !== undefined, `${id} ${metric} is a goal`);
    const [our, their] = [ours(metric), theirs(goal.theirs ?? metric)];
    const limit = costLimit(goal, their)!;
    assert.ok(our <= limit, `${id} ${goal.what}: ${our}, at most ${limit}; official ${their}`);
    assert.ok(our <= their, `${id} ${goal.what}: ${our}, official ${their}`);
  };

  it("K1 at rest ours asks nothing, the official engine does by the clock", () => {
    holds("K1", "rest_gets_per_minute");
    holds("K1", "rest_lists_per_minute");
    assert.equal(ours("rest_requests_per_minute"), 0);
    assert.ok(theirs("rest_requests_per_minute") > 60, `${theirs("rest_requests_per_minute")}`);
  });

  it("K2 a row a second is one log object each, more rows are one per window at most", () => {
    holds("K2", "trickle_puts_per_write");
    assert.ok(ours("steady_puts_per_second") <= 1.05 * Math.max(10, theirs("steady_puts_per_second")));
  });

  it("K3 with a ceiling on log objects a stream takes at most 0.6 of the official engine's PUTs", () => {
    holds("K3", "capped_puts_per_MB");
  });

  it("K5 to K7 a cold read is one GET of one block, with index and filter or without", () => {
    holds("K5", "cold_gets_per_read");
    holds("K6", "uncached_gets_per_read");
    holds("K7", "touched_getBytes_per_read");
  });

  it("K8 and K9 cold scans are one GET or two per table", () => {
    holds("K8", "scan100_gets_per_scan");
    holds("K8", "scan100of1k_gets_per_scan");
    holds("K9", "scan10of4_gets_per_scan");
  });

  it("K11 an open is six requests, one more per object of the log, and one for the service the first time", () => {
    holds("K11", "openClean_requests_per_open");
    const most = 6 + SIZE.logObjects;
    assert.ok(ours("openLog_requests_per_open") <= most, `${ours("openLog_requests_per_open")}, at most ${most}`);
    assert.ok(ours("openLog_requests_per_open") <= theirs("openLog_requests_per_open"));
    assert.ok(ours("openNew_requests_per_open") <= 7, `${ours("openNew_requests_per_open")}`);
  });

  it("K12 fifty readers of one block share its GET", () => holds("K12", "shared_gets_per_block"));

  it("what cost() says is what the wire has seen, parts of large objects included", () => {
    assert.ok(ours("large_parts") > 0, "some table went up in parts");
    assert.equal(ours("miscounted_requests_per_run"), 0);
  });
});

function thisRuntime(): RuntimeBinary {
  const name = "Bun" in globalThis ? "bun" : "node";
  return { name, path: process.execPath, version: process.version };
}

function resultsOf({ contender, results, error }: Sample): Record<string, number> {
  assert.ok(error === undefined, `${contender}: ${error}`);
  return results as Record<string, number>;
}

function counted(results: Readonly<Record<string, number>> | undefined, name: string): number {
  const value = results?.[name];
  assert.ok(value !== undefined, `${name} was counted`);
  return value;
}
