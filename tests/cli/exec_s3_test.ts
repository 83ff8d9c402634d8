/**
 * `exec` on a location in S3, and a step that waits for a time that has not come.
 *
 * @module
 */
import process from "node:process";
import slatedb from "../testdata/op_scripts/slatedb-behaviours.json" with { type: "json" };
import type { Answer } from "../../src/cli/exec/answers.ts";
import { compareAnswers, execFlags } from "../support/op_script_exec.ts";
import type { ScriptFile } from "../support/op_script_values.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { refusal, StandIn } from "../support/s3_stand_in.ts";
import { after, assert, before, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

const skip = canUseNetwork() ? false : "needs the network of this machine (deno test -A)";
const VARIABLES = { AWS_ACCESS_KEY_ID: "testkey", AWS_SECRET_ACCESS_KEY: "testsecret", AWS_REGION: "us-east-1" };

describe("exec in S3", { skip }, () => {
  let server: StandIn;
  const saved = new Map<string, string | undefined>();
  before(async () => {
    for (const [name, value] of Object.entries(VARIABLES)) {
      saved.set(name, process.env[name]);
      process.env[name] = value;
    }
    server = await StandIn.start();
  });
  after(async () => {
    await server.close();
    for (const [name, value] of saved) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });

  async function exec(prefix: string, steps: readonly unknown[], flags: readonly string[]): Promise<Answer[]> {
    const location = `s3://bucket/${prefix}?endpoint=${encodeURIComponent(server.endpoint)}`;
    const input = steps.map((step) => JSON.stringify(step)).join("\n");
    const { code, out, err } = await cli(["exec", location, ...flags], { input });
    assert.equal(code, 0, err);
    return jsonLines(out) as unknown as Answer[];
  }

  it("exec answers op-scripts as they expect in S3, and leaves no connection", async () => {
    const { scenarios } = slatedb as unknown as ScriptFile;
    for (const scenario of scenarios.filter(({ group }) => group === "checkpoint" || group === "fencing")) {
      compareAnswers(scenario, await exec(scenario.id, scenario.steps, execFlags(scenario)));
    }
    await server.isLeft();
  });

  it("exec answers a step that waits for the virtual clock with Unavailable, and it goes on with advance", async () => {
    let refused = false;
    server.usual = (asked) => {
      if (refused || asked.method !== "PUT" || !asked.key.endsWith("00003.sst")) return server.bucket.answer(asked);
      refused = true;
      return refusal(503, "SlowDown");
    };
    const found = await exec("stuck", [
      { op: "open" },
      { op: "put", key: "a", value: "1" },
      { op: "put", key: "b", value: "2" },
      { op: "get", key: "b", durability: "remote" },
      { op: "advance", ms: 60_000 },
      { op: "get", key: "b", durability: "remote" },
    ], ["--virtual-clock"]);
    assert.equal("error" in found[2]! ? found[2].error : undefined, "Unavailable");
    assert.deepEqual([found[3], found[5]], [{ ok: null }, { ok: { hex: "32" } }]);
  });
});
