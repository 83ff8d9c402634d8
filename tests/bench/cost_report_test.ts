import { readFileSync } from "node:fs";
import { COST_GOALS, judgeCost } from "../../bench/cost_goals.ts";
import { COST_MARKS, renderCostTable, withCostTable } from "../../bench/cost_report.ts";
import { newestCounts, type PeersLine } from "../../bench/history.ts";
import type { CaseResult } from "../../bench/statistics.ts";
import { FULL_SIZE } from "../../bench/s3_cost_run.ts";
import { canUseDisk } from "../support/permissions.ts";
import { repositoryPath } from "../support/shared.ts";
import { assert, describe, it } from "../support/suite.ts";

const counts = (ours: number, slatedb: number): CaseResult => {
  return { values: { ours: [ours, 0], slatedb: [slatedb, 0] }, ratios: {} };
};

/** Cases as they are counted: PUT-class, GET-class, LIST. */
const requests = (name: string, unit: string, ours: number[], slatedb: number[]): Record<string, CaseResult> =>
  Object.fromEntries(["puts", "gets", "lists"].map((what, i) => [
    `${name}_${what}_per_${unit}`,
    counts(ours[i]!, slatedb[i]!),
  ]));

const LINE: PeersLine = {
  kind: "peers",
  date: "2026-11-21T15:30Z",
  commit: "abcdef0",
  machine: { cpu: "none", cores: 2, memoryGiB: 8, system: "none", load: 0 },
  runtimes: { deno: "2.9.6" },
  peers: { "@slatedb/uniffi": "0.12.1" },
  runs: [{
    settings: {
      run: "s3cost",
      rows: 1,
      valueBytes: 100,
      rounds: 1,
      limitMillis: 1,
      replayMB: 1,
      contenders: ["slatedb"],
      costSize: FULL_SIZE,
    },
    cases: {
      deno: {
        ...requests("durable", "write", [1, 0, 0], [1, 0.5, 0.1]),
        ...requests("small", "MB", [2, 1, 0], [2.5, 2.5, 0.5]),
        ...requests("cold", "read", [0, 1, 0], [0, 1, 0.1]),
        ...requests("scan100", "scan", [0, 1, 0], [0, 5.4, 0]),
        ...requests("rest", "minute", [0, 0, 0], [0, 84, 84]),
      },
    },
    failures: [],
  }],
};

describe("the cost table", () => {
  const rows = renderCostTable(LINE).split("\n").filter((line) => line.startsWith("|"));
  const cells = rows.map((row) => row.split("|").slice(1, -1).map((cell) => cell.trim()));

  it("renderCostTable prices PUT and LIST alike, GET lower, and leaves out of reads what is asked by the clock", () => {
    assert.deepEqual(cells.map(([, ours, theirs]) => [ours, theirs]).slice(2), [
      ["$5.00", "$5.70"],
      ["$0.0012", "$0.0019"],
      ["$0.40", "$0.40"],
      ["$0.40", "$2.16"],
      ["$0", "$19.60"],
    ]);
  });

  it("renderCostTable names date, commit, release and price sheet", () => {
    const text = renderCostTable(LINE).replaceAll("\n", " ");
    for (const name of ["2026-11-21", "commit abcdef0", "SlateDB 0.12.1", "Deno", "S3 Standard"]) {
      assert.ok(text.includes(name), `${name} in ${text}`);
    }
  });

  it("renderCostTable is laid out as the formatter does it: cells as wide as their column, lines up to 120", () => {
    assert.equal(new Set(rows.map((row) => row.length)).size, 1);
    assert.match(rows[1]!, /^\| -+ \| -+: \| -+: \|$/);
    assert.ok(renderCostTable(LINE).split("\n").every((line) => line.length <= 120));
  });

  it("renderCostTable takes the day of the count where an older one was kept", () => {
    const [run] = LINE.runs;
    const kept = { ...LINE, runs: [{ ...run!, measured: { date: "2026-11-20T10:00Z", load: 1 } }] };
    assert.ok(renderCostTable(kept).includes("2026-11-20"));
  });

  it("without a count there is no table, and withCostTable wants its marks", () => {
    assert.equal(renderCostTable(undefined), COST_MARKS.join("\n"));
    assert.equal(renderCostTable({ ...LINE, runs: [] }), COST_MARKS.join("\n"));
    assert.equal(withCostTable("no marks", "table"), undefined);
    assert.equal(withCostTable(`a\n${COST_MARKS[0]}\nold\n${COST_MARKS[1]}\nz`, "new"), "a\nnew\nz");
  });

  it("the README's table is what the newest recorded count renders", {
    skip: canUseDisk() ? false : "needs to read files (deno test -A)",
  }, () => {
    const readme = readFileSync(repositoryPath("README.md"), "utf8");
    assert.equal(readme, withCostTable(readme, renderCostTable(newestCounts())));
  });
});

describe("cost goals", () => {
  const goal = (id: string, metric: string) => COST_GOALS.find((goal) => goal.id === id && goal.metric === metric)!;

  it("judgeCost holds a count to its limit, or to its part of SlateDB's count", () => {
    const k5 = goal("K5", "cold_gets_per_read");
    const judged = (ours: number) => judgeCost(k5, { cold_gets_per_read: counts(ours, 1) }).met;
    assert.deepEqual([judged(1), judged(1.02), judged(1.03)], [true, true, false]);
    const k3 = goal("K3", "small_puts_per_MB");
    const put = (ours: number, theirs: number) => judgeCost(k3, { small_puts_per_MB: counts(ours, theirs) }).met;
    assert.deepEqual([put(1.5, 2.5), put(1.51, 2.5)], [true, false]);
  });

  it("judgeCost compares the stream with a ceiling to SlateDB's only stream", () => {
    const capped = goal("K3", "capped_puts_per_MB");
    const cases = { small_puts_per_MB: counts(9, 2.5), capped_puts_per_MB: { values: { ours: [1, 0] }, ratios: {} } };
    const judged = judgeCost(capped, cases as unknown as Record<string, CaseResult>);
    assert.deepEqual(judged, { ours: 1, theirs: 2.5, met: true });
  });

  it("judgeCost calls nothing met that was not counted", () => {
    for (const one of COST_GOALS) assert.equal(judgeCost(one, {}).met, false);
    assert.equal(judgeCost(goal("K3", "small_puts_per_MB"), undefined).met, false);
  });
});
