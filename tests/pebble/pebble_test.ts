/**
 * Every block of Pebble's datadriven files, decided by `cases.json`, on our engine.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { canUseDisk } from "../support/permissions.ts";
import { sharedPath } from "../support/shared.ts";
import { after, assert, describe, it } from "../support/suite.ts";
import { COMPACT_FILES } from "./compact_files.ts";
import { FAILING_LISTED } from "./failing_listed.ts";
import { KEYSPAN_FILES } from "./keyspan_files.ts";
import {
  parsePebbleFile,
  type PebbleCase,
  type PebbleResult,
  readPebbleCases,
  readPebbleCounts,
  readPebbleFile,
  runPebbleFile,
  STATUSES,
} from "./pebble_files.ts";
import { READ_FILES } from "./read_files.ts";

const FILES_TOTAL = 31;
const BLOCKS_TOTAL = 1319;

const HANDLERS = { ...READ_FILES, ...KEYSPAN_FILES, ...COMPACT_FILES };
const folder = sharedPath("testdata/pebble");

describe("pebble files", () => {
  it("parsePebbleFile tells commands, arguments, input and wrapped output apart", () => {
    const text =
      '# note\n\nget a=(1, 2) b "x y"\n k\n----\none\n\n\nlist\n----\n----\nx\n\ny\n----\n----\n\nend q=(Log "# (")\n----\n';
    const [get, list, end, ...rest] = parsePebbleFile("f", text);
    assert.deepEqual(rest, []);
    assert.deepEqual([get!.line, get!.name, get!.input, get!.expected], [3, "get", [" k"], "one"]);
    assert.deepEqual(get!.args, [
      { key: "a", values: ["1", "2"] },
      { key: "b", values: [] },
      { key: '"x y"', values: [] },
    ]);
    assert.deepEqual([list!.line, list!.expected], [9, "x\n\ny"]);
    assert.deepEqual([end!.args.length, end!.expected], [1, ""]);
  });

  it("runPebbleFile fails what is wrong, unknown, not decided, or adapted without leave", async () => {
    const names = ["same", "other", "throws", "unknown", "undecided", "adapted", "skipped"];
    const blocks = parsePebbleFile("f", names.map((name) => `${name}\n----\nx\n`).join("\n"));
    const decisions = blocks.filter(({ name }) => name !== "undecided").map(({ line, name }): PebbleCase => ({
      line,
      command: name,
      status: name === "skipped" ? "skip" : "run",
    }));
    const results = await runPebbleFile(blocks, decisions, () => ({
      commands: {
        same: () => "x",
        other: () => "y",
        throws: () => {
          throw new Error("no");
        },
        undecided: () => "x",
        adapted: () => ({ ours: "1", theirs: "1" }),
      },
    }));
    const failed = results.filter(({ failure }) => failure !== undefined).map(({ block }) => block.name);
    assert.deepEqual([results.length, failed], [6, ["other", "throws", "unknown", "undecided", "adapted"]]);
  });
});

const without = canUseDisk() ? "shared/testdata/pebble is not there" : "files may not be read (deno test -A)";
const skip = folder === undefined ? `left out: all ${BLOCKS_TOTAL} blocks of Pebble's files; ${without}` : false;
if (skip !== false) console.log(skip);

describe("pebble blocks", { skip }, () => {
  if (folder === undefined) return;
  const cases = readPebbleCases(readFileSync(join(folder, "cases.json"), "utf8"));
  const readme = readPebbleCounts(readFileSync(join(folder, "..", "README.md"), "utf8"));
  const results = new Map<string, PebbleResult[]>();

  it("pebble blocks are as many as cases.json and the README say", () => {
    assert.deepEqual([...cases.keys()].sort(), [...readme.keys()].sort());
    assert.equal(cases.size, FILES_TOTAL);
    let blocks = 0;
    for (const [file, list] of cases) {
      const found = readPebbleFile(folder, file);
      assert.deepEqual(
        found.map(({ line, command }) => ({ line, command })),
        list.map(({ line, command }) => ({ line, command })),
      );
      const count = (status: string) => list.filter((one) => one.status === status).length;
      const counted = Object.fromEntries(STATUSES.map((status) => [status, count(status)]));
      assert.deepEqual({ blocks: found.length, ...counted }, readme.get(file), file);
      blocks += found.length;
    }
    assert.equal(blocks, BLOCKS_TOTAL);
    for (const { file, line } of FAILING_LISTED) {
      const status = cases.get(file)?.find((one) => one.line === line)?.status;
      assert.ok(status === "run" || status === "adapt", `listed as failing, but not compared: ${file}:${line}`);
    }
  });

  for (const [file, list] of cases) {
    it(`pebble ${file}`, async () => {
      const ran = await runPebbleFile(readPebbleFile(folder, file), list, HANDLERS[file]);
      results.set(file, ran);
      const listed = new Map(FAILING_LISTED.filter((one) => one.file === file).map((one) => [one.line, one.proof]));
      const wrong = ran.filter(({ block, failure }) => failure !== undefined && !listed.has(block.line));
      const right = ran.filter(({ block, failure }) => failure === undefined && listed.has(block.line));
      assert.deepEqual(right.map(({ block }) => block.line), [], "listed as failing and answered right: take them off");
      const told = wrong.slice(0, 5).map(({ block, failure }) => `${file}:${block.line} ${block.command}\n${failure}`);
      assert.equal(
        wrong.length,
        0,
        `${wrong.length} of ${ran.length} blocks of ${file} are wrong\n${told.join("\n\n")}`,
      );
    });
  }

  after(() => console.log(tableOf(cases, results)));
});

/** Results by file. */
function tableOf(
  cases: ReadonlyMap<string, ReadonlyArray<PebbleCase>>,
  results: ReadonlyMap<string, ReadonlyArray<PebbleResult>>,
): string {
  const isListed = ({ block }: PebbleResult) =>
    FAILING_LISTED.some(({ file, line }) => file === block.file && line === block.line);
  const rows: Array<ReadonlyArray<string | number>> = [];
  const sum = new Array<number>(7).fill(0);
  for (const [file, list] of cases) {
    const ran = results.get(file) ?? [];
    const good = (status: string) => ran.filter((one) => one.status === status && one.failure === undefined).length;
    const bad = ran.filter(({ failure }) => failure !== undefined);
    const skipped = list.filter(({ status }) => status === "skip").length;
    const listed = bad.filter(isListed).length;
    const numbers = [list.length, good("setup"), good("run"), good("adapt"), skipped, listed, bad.length - listed];
    numbers.forEach((n, i) => sum[i]! += n);
    rows.push([file, ...numbers]);
  }
  const head = ["pebble file", "blocks", "setup", "run", "adapt", "skipped", "failing-listed", "failed"];
  const all = [head, ...rows, ["all", ...sum]];
  const lines = all.map((row) =>
    row.map((cell, i) => i === 0 ? String(cell).padEnd(34) : String(cell).padStart(head[i]!.length + 2)).join("")
  );
  const proofs = FAILING_LISTED.map(({ file, line, proof }) => `failing-listed ${file}:${line}: ${proof}`);
  return [...lines, ...proofs].join("\n");
}
