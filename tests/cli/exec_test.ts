/**
 * `exec`: the protocol, line by line, and samples of op-scripts whose answers are compared as the runner compares them.
 *
 * @module
 */
import aeternusdb from "../testdata/op_scripts/aeternusdb-behaviours.json" with { type: "json" };
import slatedb from "../testdata/op_scripts/slatedb-behaviours.json" with { type: "json" };
import { open } from "../../mod.ts";
import type { Answer } from "../../src/cli/exec/answers.ts";
import { OPERATIONS } from "../../src/cli/exec/operations.ts";
import { OPERATION_NAMES } from "../../src/cli/exec/step_check.ts";
import { stepLines, TOO_LONG } from "../../src/cli/exec/step_lines.ts";
import { type Step, stepsOf } from "../../src/cli/exec/step_values.ts";
import { inFolder } from "../support/folders.ts";
import { compareAnswers, execFlags } from "../support/op_script_exec.ts";
import type { Scenario, ScriptFile } from "../support/op_script_values.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

const SCENARIOS: readonly Scenario[] = [aeternusdb, slatedb]
  .flatMap((file) => (file as unknown as ScriptFile).scenarios);
/** One of so many scenarios is in a sample. */
const SAMPLE_OF = 30;

const noDisk = canUseDisk() ? false : "needs to use files (deno test -A)";

/** Answers of a script in memory on a virtual clock; steps are objects, or lines as they are. */
async function answers(steps: ReadonlyArray<object | string>, flags: readonly string[] = ["--virtual-clock"]) {
  const input = steps.map((step) => typeof step === "string" ? step : JSON.stringify(step)).join("\n");
  const { code, out, err } = await cli(["exec", "memory:", ...flags], { input });
  assert.equal(code, 0, err);
  assert.equal(err, "");
  return jsonLines(out) as unknown as Array<Answer>;
}

const refusal = (answer: Answer | undefined): string => {
  assert.ok(answer !== undefined && "error" in answer, JSON.stringify(answer));
  return `${answer.error}: ${answer.message}`;
};
const some = [{ op: "open" }, { op: "put", key: "a", value: "1" }];

describe("exec", () => {
  it("exec answers each step with what it would be compared with, bytes as hex", async () => {
    const found = await answers([
      ...some,
      {
        op: "write",
        ops: [{ op: "put", key: "b", value: { hex: "00ff" } }, { op: "deleteRange", from: "x", to: "y" }],
      },
      { op: "get", key: "b", expect: "ignored", expectSeq: 9, expectError: "Closed" },
      { op: "get", key: "c" },
      { op: "scan" },
      { op: "getKeyValue", key: "a" },
      { op: "iter", as: "i" },
      { op: "next", on: "i" },
      { op: "begin", as: "t", isolation: "serializable" },
      { op: "put", on: "t", key: "c", value: "3" },
      { op: "commit", on: "t" },
      { op: "begin", as: "t" },
      { op: "commit", on: "t" },
      { op: "status" },
      { op: "close" },
      { op: "status" },
      { op: "each", from: 0, count: 2, do: [{ op: "open" }, { op: "put", key: "k{i}", value: "" }] },
    ]);
    const [a, b, one] = [{ hex: "61" }, { hex: "62" }, { hex: "31" }];
    assert.deepEqual(found.map((answer) => "ok" in answer ? answer.ok : answer), [
      {},
      { seq: 1, createTs: 0 },
      { seq: 2, createTs: 0 },
      { hex: "00ff" },
      null,
      [[a, one], [b, { hex: "00ff" }]],
      { value: one, seq: 1, createTs: 0, expireTs: null, expiresAfter: null },
      {},
      [a, one],
      {},
      {},
      { result: "written", seq: 3 },
      {},
      { result: "nothing", seq: null },
      { closeReason: null },
      {},
      { closeReason: "Clean" },
      [{ ok: {} }, { ok: { seq: 4, createTs: 0 } }, { ok: {} }, { ok: { seq: 5, createTs: 0 } }],
    ]);
  });

  it("exec answers what is no step with InvalidArgument, changes nothing and goes on", async () => {
    const wrong: ReadonlyArray<readonly [object | string, RegExp]> = [
      ["{", /no JSON/],
      ["", /no JSON/],
      ["[]", /no JSON object/],
      ["\u0000", /no JSON/],
      [{ key: "a" }, /it lacks "op"/],
      [{ op: "__proto__" }, /unknown operation "__proto__"/],
      [{ op: "delte", key: "a" }, /unknown operation "delte"; did you mean delete/],
      [
        { op: "delete", key: "a", keyy: "b" },
        /step: delete has the unknown field "keyy"; known are on, awaitDurable, key$/,
      ],
      [{ op: "delete" }, /Cannot run the step: delete lacks "key"$/],
      [{ op: "delete", key: 1 }, /step: delete\.key must be a string/],
      [{ op: "delete", key: { hex: "0F" } }, /lower-case hex/],
      [{ op: "delete", key: { repeat: "ab", count: 1e12 } }, /must not exceed/],
      [{ op: "delete", key: "a", on: "nobody" }, /nothing is called nobody; a step with "as" gives names/],
      [{ op: "next" }, /db is a database; the step needs an iterator/],
      [{ op: "deleteRange", from: "a" }, /lacks "to"/],
      [{ op: "deleteRange", from: "b", to: "a" }, /InvalidArgument/],
      [
        { op: "write", ops: [{ op: "delete", key: "a" }, { op: "get", key: "a" }] },
        /step: write\.ops\[1\] has the unknown operation "get" in a batch/,
      ],
      [{ op: "write", ops: [{ op: "delete", key: "a", on: "db" }] }, /write\.ops\[0\] has the unknown field "on"/],
      [
        { op: "each", from: 0, count: 2, do: [{ op: "delete", key: "a" }, { op: "nope" }] },
        /operation "nope" in a loop/,
      ],
      [
        { op: "each", from: 0, count: 1, do: [{ op: "each", from: 0, count: 1, do: [] }] },
        /each\.do\[0\] has the unknown operation "each" in a loop/,
      ],
      [
        { op: "each", from: 2 ** 53 - 2, count: 3, do: [{ op: "delete", key: "a{i}" }] },
        /each counts beyond 2\^53 - 1/,
      ],
      [{ op: "each", from: 0, count: 3, step: 2 ** 52, do: [{ op: "delete", key: "a{i}" }] }, /each counts beyond/],
      [{ op: "each", from: -5, count: 3, step: 1 - 2 ** 52, do: [] }, /each counts beyond/],
      [
        { op: "plant", kind: "orphanTable", entries: [{ from: 2 ** 53 - 1, count: 2, kv: ["a{i}", "b"] }] },
        /plant\.entries\[0\] counts beyond 2\^53 - 1/,
      ],
      [{ op: "open", settings: { walEnabled: 1 } }, /open\.settings\.walEnabled must be true or false/],
      [{ op: "put", key: "a", value: "2", ttl: { after: 1, at: 1 } }, /put\.ttl must be/],
      [{ op: "crash", at: "afterTableUploadBeforeManifest" }, /nothing to store/],
    ];
    const found = await answers([
      ...some,
      { op: "flush", kind: "memtable" },
      ...wrong.flatMap(([step]) => [step, { op: "scan" }]),
    ]);
    assert.equal(found.length, 3 + 2 * wrong.length);
    for (const [at, [step, message]] of wrong.entries()) {
      const text = refusal(found[3 + 2 * at]);
      assert.match(text, message, JSON.stringify(step));
      assert.match(text, /^InvalidArgument: /, JSON.stringify(step));
      assert.deepEqual(found[4 + 2 * at], { ok: [[{ hex: "61" }, { hex: "31" }]] }, JSON.stringify(step));
    }
  });

  it("exec each counts up to the last safe integer", async () => {
    const put = { op: "put", key: "{i}", value: "" };
    const found = await answers([
      { op: "open" },
      { op: "each", from: 2 ** 53 - 3, count: 3, do: [put] },
      { op: "each", from: 1 - 2 ** 53, count: 1, step: 9, do: [put] },
      { op: "scan" },
    ]);
    const keys = ["-9007199254740991", "9007199254740989", "9007199254740990", "9007199254740991"];
    const hex = (key: string) => [...new TextEncoder().encode(key)].map((byte) => byte.toString(16)).join("");
    assert.deepEqual(found.at(-1), { ok: keys.map((key) => [{ hex: hex(key) }, { hex: "" }]) });
  });

  it("exec each answers with its first error and stops there", async () => {
    const [, , failed, rows] = await answers([
      ...some,
      {
        op: "each",
        from: 1,
        count: 3,
        do: [{ op: "put", key: "k{i}", value: "" }, { op: "get", on: "n{i}", key: "a" }],
      },
      { op: "scan", from: "k" },
    ]);
    assert.match(refusal(failed), /^InvalidArgument: get with i = 1: .*nothing is called n1/);
    assert.deepEqual(rows, { ok: [[{ hex: "6b31" }, { hex: "" }]] });
  });

  it("exec crash loses what nobody waited for and unbinds what was made of the handle", async () => {
    const found = await answers([
      ...some,
      { op: "put", key: "b", value: "2", awaitDurable: false },
      { op: "iter", as: "i" },
      { op: "snapshot", as: "s" },
      { op: "crash" },
      { op: "get", key: "a" },
      { op: "next", on: "i" },
      { op: "get", on: "s", key: "a" },
      { op: "open" },
      { op: "scan" },
    ]);
    for (const at of [6, 7, 8]) assert.match(refusal(found[at]), /nothing is called/);
    assert.match(refusal(found[6]), /nothing is called db; send \{"op":"open"\} first$/);
    assert.deepEqual(found.at(-1), { ok: [[{ hex: "61" }, { hex: "31" }]] });
  });

  it("exec says by kind what an error is", async () => {
    const found = await answers([
      ...some,
      { op: "merge", key: "m", value: "1" },
      { op: "get", key: "m" },
      { op: "begin", as: "t" },
      { op: "put", on: "t", key: "a", value: "2" },
      { op: "put", key: "a", value: "3" },
      { op: "commit", on: "t" },
      { op: "storeCheck", minTables: 5 },
      { op: "open", as: "other" },
      { op: "put", key: "a", value: "4" },
      { op: "close", on: "other" },
      { op: "close", on: "other" },
    ]);
    const kinds = found.map((answer) => "error" in answer ? answer.error : "");
    assert.deepEqual(kinds, [
      ...["", "", "", "MergeOperatorMissing", "", "", "", "Conflict", "CheckFailed", "", "Fenced", "", "Closed"],
    ]);
  });

  it("exec tells the reason of an error, and of a conflict the key or range in the way and its number", async () => {
    const found = await answers([
      ...some,
      { op: "begin", as: "t" },
      { op: "put", on: "t", key: "a", value: "2" },
      { op: "begin", as: "u", isolation: "serializable" },
      { op: "scan", on: "u", from: "k", to: "m" },
      { op: "put", on: "u", key: "z", value: "" },
      { op: "put", key: "a", value: "3" },
      { op: "deleteRange", from: "l", to: "x" },
      { op: "commit", on: "t" },
      { op: "each", from: 0, count: 1, do: [{ op: "commit", on: "u" }] },
      { op: "get" },
      { op: "storeCheck", minTables: 5 },
    ]);
    const [key, range, step, check] = found.slice(-4).map((answer) => {
      assert.ok("error" in answer, JSON.stringify(answer));
      const { message: _, ...others } = answer;
      return others;
    });
    assert.deepEqual(key, { error: "Conflict", reason: "write", key: { hex: "61" }, seq: 2 });
    assert.deepEqual(range, {
      error: "Conflict",
      reason: "range",
      range: { from: { hex: "6b" }, to: { hex: "6d" } },
      seq: 3,
    });
    assert.deepEqual([step, check], [{ error: "InvalidArgument", reason: "step" }, { error: "CheckFailed" }]);
  });

  it("exec stores range deletes as the settings say", async () => {
    const steps = [...some, { op: "deleteRange", from: "a", to: "b" }, { op: "deleteRange", from: "a", to: "b" }];
    const seqs = (found: readonly Answer[]) => found.slice(-2).map((answer) => "ok" in answer ? answer.ok : answer);
    assert.deepEqual(seqs(await answers(steps)), [{ seq: 2, createTs: 0 }, { seq: 3, createTs: 0 }]);
    const flags = ["--virtual-clock", "--settings", '{"rangeDeletes":"expand"}'];
    assert.deepEqual(seqs(await answers(steps, flags)), [{ seq: 2, createTs: 0 }, { seq: 2, createTs: 0 }]);
  });

  it("exec moves a virtual clock only, and keeps its word on time", async () => {
    const steps = [
      { op: "open" },
      { op: "put", key: "a", value: "1", ttl: { after: 10 } },
      { op: "advance", ms: 11 },
      { op: "get", key: "a" },
      { op: "setClock", ms: 5 },
      { op: "put", key: "b", value: "1" },
    ];
    const strict = await answers(steps.slice(0, 4));
    assert.deepEqual(strict[3], { ok: null });
    const slatedb = await answers(
      [...steps.slice(0, 4), { op: "put", key: "c", value: "" }, ...steps.slice(4)],
      ["--virtual-clock", "--ttl", "slatedb", "--json"],
    );
    assert.deepEqual(slatedb[3], { ok: { hex: "31" } });
    assert.match(refusal(slatedb.at(-1)), /^InvalidArgument/);
    const real = await answers(steps, []);
    assert.match(refusal(real[2]), /^InvalidArgument: .*--virtual-clock/);
  });

  it("exec folds merges by the operator that is named", async () => {
    for (const flag of ["--merge-operator", "--merge"]) {
      const [, , , sum] = await answers([
        { op: "open" },
        { op: "merge", key: "n", value: { u64le: 2 } },
        { op: "merge", key: "n", value: { u64le: 3 } },
        { op: "get", key: "n" },
      ], [flag, "u64add"]);
      assert.deepEqual(sum, { ok: { hex: "0500000000000000" } }, flag);
    }
  });

  it("exec refuses settings that make no sense before it reads a step", async () => {
    const cases: ReadonlyArray<readonly [string, RegExp]> = [
      ["{", /--settings is no JSON/],
      ["[]", /--settings must be an object/],
      ['{"walEnabled":1}', /--settings\.walEnabled must be true or false/],
      ['{"rangeDeletes":"none"}', /--settings\.rangeDeletes must be one of native, expand/],
      ['{"flush":1}', /--settings has the unknown field "flush"; known are .*, rangeDeletes/],
    ];
    for (const [json, message] of cases) {
      const { code, out, err } = await cli(["exec", "memory:", "--settings", json], { input: '{"op":"open"}\n' });
      assert.deepEqual([code, out], [2, ""], err);
      assert.match(err, message);
    }
    const both = await cli(["exec", "memory:", "--merge", "concat", "--merge-operator", "concat"], { input: "" });
    assert.deepEqual([both.code, both.out], [2, ""]);
  });

  it("exec waits for durable writes without a log too, and does not move the clock for it", async () => {
    const found = await answers([
      ...some,
      { op: "begin", as: "t" },
      { op: "put", on: "t", key: "b", value: "2" },
      { op: "commit", on: "t" },
      { op: "write", ops: [{ op: "put", key: "c", value: "3" }] },
      { op: "storeCheck", minTables: 3 },
      { op: "crash" },
      { op: "open", settings: { walEnabled: true } },
      { op: "scan", limit: 2 },
    ], ["--virtual-clock", "--settings", '{"walEnabled":false}']);
    assert.deepEqual(found.filter((answer) => "error" in answer), []);
    assert.deepEqual(found.at(-1), { ok: [[{ hex: "61" }, { hex: "31" }], [{ hex: "62" }, { hex: "32" }]] });
  });

  it(
    "exec at the end of the input closes what is open, on a folder",
    { skip: noDisk },
    () =>
      inFolder(async (folder) => {
        const steps = [{ op: "open" }, { op: "put", key: "a", value: "1", awaitDurable: false }, {
          op: "iter",
          as: "i",
        }];
        const input = steps.map((step) => JSON.stringify(step)).join("\n");
        const { code, out } = await cli(["exec", folder, "--settings", '{"flushIntervalMs":null}'], { input });
        assert.equal(code, 0);
        assert.equal(jsonLines(out).length, 3);
        const db = await open(folder);
        assert.deepEqual(await db.get("a"), new Uint8Array([0x31]));
        await db.close();
      }),
  );

  it("exec ends with its handles closed when nobody reads its answers", async () => {
    const input = some.map((step) => JSON.stringify(step)).join("\n");
    const { code } = await cli(["exec", "memory:"], { input, closesAfter: 1 });
    assert.equal(code, 0);
  });

  it("exec ends at a signal, after the step that is under way", async () => {
    let stop = () => {};
    const { code, out, err } = await cli(["exec", "memory:"], {
      input: `${JSON.stringify({ op: "open" })}\n`.repeat(5),
      onStop: (given) => stop = given,
      onOutput: () => stop(),
    });
    assert.equal(jsonLines(out).length, 1);
    assert.equal(code, 1);
    assert.match(err, /Stopped before the end of the input/);
  });

  it("stepLines passes over a line that is too long and goes on with the next", async () => {
    const chunks = ["ab\nlonger than", " eight\n", "\n", "last"].map((text) => new TextEncoder().encode(text));
    const found: string[] = [];
    for await (const line of stepLines(asyncOf(chunks), undefined, 8)) {
      found.push(line === TOO_LONG ? "too long" : new TextDecoder().decode(line));
    }
    assert.deepEqual(found, ["ab", "too long", "", "last"]);
  });

  it("OPERATIONS and the checked fields name the same operations", () => {
    assert.deepEqual([...Object.keys(OPERATIONS), "each"].sort(), [...OPERATION_NAMES].sort());
  });

  for (const [place, of] of [["memory", 0], ["folder", 1]] as const) {
    const sample = SCENARIOS.filter((_, number) => number % SAMPLE_OF === of);
    it(
      `exec answers a sample of op-scripts as they expect, ${place}`,
      { skip: place === "folder" && noDisk },
      async () => {
        assert.ok(sample.length >= 9);
        for (const scenario of sample) {
          const run = async (location: string) => {
            const input = scenario.steps.map((step) => JSON.stringify(step)).join("\n");
            const { code, out, err } = await cli(["exec", location, ...execFlags(scenario)], { input });
            assert.equal(code, 0, `${scenario.id}: ${err}`);
            compareAnswers(scenario, jsonLines(out) as unknown as Answer[]);
          };
          await (place === "memory" ? run("memory:") : inFolder(run));
        }
      },
    );
  }

  it("compareAnswers notices wrong answers, missing ones and errors of another kind", () => {
    const scenario = (steps: readonly unknown[]) =>
      ({ id: "x", group: "g", title: "", requires: [], steps }) as Scenario;
    const get = { op: "get", key: "a", expect: "1" };
    const one = { ok: { hex: "31" } };
    compareAnswers(scenario([get]), [one]);
    compareAnswers(scenario([{ op: "each", from: 0, count: 2, do: [get] }]), [{ ok: [one, one] }]);
    const wrong: ReadonlyArray<readonly [readonly unknown[], readonly Answer[]]> = [
      [[get], []],
      [[get], [one, one]],
      [[get], [{ ok: null }]],
      [[get], [{ error: "Closed", message: "" }]],
      [[{ ...get, expectError: "Fenced" }], [{ error: "Closed", message: "" }]],
      [[{ ...get, expectError: "Fenced" }], [one]],
      [[{ op: "each", from: 0, count: 2, do: [get] }], [{ ok: [one] }]],
      [[{ op: "each", from: 0, count: 1, do: [get] }], [{ ok: [{ ok: null }] }]],
    ];
    for (const [steps, given] of wrong) assert.throws(() => compareAnswers(scenario(steps), given));
    const loop = { op: "each", from: 5, count: 2, step: -1, do: [get] } as unknown as Step;
    assert.deepEqual([...stepsOf(loop)].map(({ i }) => i), [5, 4]);
  });
});

async function* asyncOf<A>(items: readonly A[]): AsyncGenerator<A> {
  for (const item of items) yield await Promise.resolve(item);
}
