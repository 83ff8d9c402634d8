/**
 * `exec` as a process that another program talks to: each answer is there before the next step is sent.
 *
 * @module
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import aeternusdb from "../testdata/op_scripts/aeternusdb-behaviours.json" with { type: "json" };
import slatedb from "../testdata/op_scripts/slatedb-behaviours.json" with { type: "json" };
import type { Answer } from "../../src/cli/exec/answers.ts";
import { inFolder } from "../support/folders.ts";
import { compareAnswers, execFlags, runsInRealTime } from "../support/op_script_exec.ts";
import type { Scenario, ScriptFile } from "../support/op_script_values.ts";
import { canRunPrograms } from "../support/permissions.ts";
import { repositoryPath } from "../support/shared.ts";
import { assert, describe, it } from "../support/suite.ts";

const SCENARIOS: readonly Scenario[] = [aeternusdb, slatedb]
  .flatMap((file) => (file as unknown as ScriptFile).scenarios);

/** A running `exec`, asked step by step. */
class Coprocess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<number | null>;
  #err = "";

  constructor(location: string, flags: readonly string[]) {
    const main = repositoryPath("src/cli/main.ts");
    const runtime = "Deno" in globalThis ? ["run", "-A", "--quiet", main] : [main];
    this.#child = spawn(process.execPath, [...runtime, "exec", location, ...flags], { cwd: repositoryPath(".") });
    this.#child.stderr.on("data", (chunk) => this.#err += chunk);
    this.#ended = new Promise((resolve) => this.#child.on("close", resolve));
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Sends one step and waits for its answer. */
  async ask(step: unknown): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(step)}\n`);
    const { done, value } = await this.#answers.next();
    assert.ok(done !== true, `no answer to ${JSON.stringify(step)}: ${this.#err}`);
    return JSON.parse(value) as Answer;
  }

  /** Ends the input; answers the exit code. */
  async end(): Promise<number | null> {
    this.#child.stdin.end();
    const code = await this.#ended;
    assert.equal(this.#err, "");
    return code;
  }

  kill(): Promise<unknown> {
    this.#child.kill("SIGKILL");
    return this.#ended;
  }
}

/** Runs a scenario on a fresh location and compares all answers. */
async function talk(id: string, location: string, isReal: boolean): Promise<void> {
  const scenario = SCENARIOS.find((candidate) => candidate.id === id);
  assert.ok(scenario !== undefined, id);
  assert.ok(!isReal || runsInRealTime(scenario), `${id} needs a virtual clock`);
  const flags = execFlags(scenario).filter((flag) => !isReal || flag !== "--virtual-clock");
  const exec = new Coprocess(location, flags);
  const answers: Answer[] = [];
  for (const step of scenario.steps) answers.push(await exec.ask(step));
  assert.equal(await exec.end(), 0);
  compareAnswers(scenario, answers);
}

const skip = canRunPrograms() ? false : "needs to run programs (deno test -A)";

describe("exec as a process", { skip }, () => {
  it("exec answers a program step by step in memory, on a virtual clock", () =>
    talk("slatedb/ttl/expires-at-flush-after-reopen", "memory:", false));

  it("exec answers a program step by step on a folder, on a virtual clock", () =>
    inFolder((folder) => talk("aeternusdb/file-cleanup/snapshot-pins-tables", folder, false)));

  it("exec answers a program step by step on a folder in real time", () =>
    inFolder((folder) => talk("aeternusdb/crash/crash-recovery-mixed-ops", folder, true)));

  it("exec has stored what it answered when it is killed", () =>
    inFolder(async (folder) => {
      const first = new Coprocess(folder, []);
      assert.deepEqual(await first.ask({ op: "open" }), { ok: {} });
      assert.ok("ok" in await first.ask({ op: "put", key: "a", value: "1" }));
      await first.kill();
      const second = new Coprocess(folder, []);
      await second.ask({ op: "open" });
      assert.deepEqual(await second.ask({ op: "scan" }), { ok: [[{ hex: "61" }, { hex: "31" }]] });
      assert.equal(await second.end(), 0);
    }));
});
