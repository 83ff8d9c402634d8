import { allowedMicros, GOALS, judge, neededRatio } from "../../bench/goals.ts";
import { casesOf, lowerIsBetter, median, type Sample, summarise } from "../../bench/statistics.ts";
import { assert, describe, it } from "../support/suite.ts";

const sample = (contender: string, round: number, results: Record<string, number>): Sample => {
  return { suite: "main", runtime: "deno", contender, round, results };
};

describe("bench statistics", () => {
  it("median and summarise take the middle and the half range in percent", () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 2, 3]), 2.5);
    assert.ok(Number.isNaN(median([])));
    assert.deepEqual(summarise([90, 100, 120]), [100, 15]);
    assert.deepEqual(summarise([0]), [0, 0]);
  });

  it("lowerIsBetter follows the driver's names", () => {
    const lower = [
      "fg_get_maxus",
      "fg_compaction_s",
      "open_ms",
      "put_1_p99us",
      "rss_loaded_MB",
      "get_cold_GETs_per_read",
    ];
    const higher = ["put_1_ops", "replay_MBps", "scan_fwd_sst_entries", "compaction_MBps"];
    assert.deepEqual([lower, higher].map((names) => names.map(lowerIsBetter)), [
      lower.map(() => true),
      higher.map(() => false),
    ]);
  });

  it("casesOf takes ratios within a round, never across rounds", () => {
    const cases = casesOf(
      [
        sample("ours", 0, { put_1_ops: 1000, open_ms: 2 }),
        sample("slatedb", 0, { put_1_ops: 100, open_ms: 10 }),
        sample("slatedb", 1, { put_1_ops: 10, open_ms: 20 }),
        sample("ours", 1, { put_1_ops: 200, open_ms: 2 }),
        { suite: "main", runtime: "deno", contender: "slatedb", round: 2, error: "killed" },
        sample("ours", 2, { put_1_ops: 5, open_ms: 1 }),
      ],
      "main",
      "deno",
      "ours",
    );
    assert.deepEqual(cases["put_1_ops"]?.ratios, { slatedb: [15, 10, 20] });
    assert.deepEqual(cases["open_ms"]?.ratios, { slatedb: [7.5, 5, 10] });
    assert.equal(cases["put_1_ops"]?.values["ours"]?.[0], 200);
  });
});

describe("bench goals", () => {
  const goal = (id: string, peer: string) => GOALS.find((goal) => goal.id === id && goal.peer === peer)!;
  const measured = (value: number, peer: string, ratio: number) => {
    return { values: { ours: [value, 0] as const }, ratios: { [peer]: [ratio, ratio, ratio] as const } };
  };

  it("judge needs the ratio and, where there is one, the absolute limit", () => {
    const r6 = goal("R6", "slatedb");
    assert.equal(judge(r6, "deno", measured(100, "slatedb", 5), "ours").met, true);
    assert.equal(judge(r6, "deno", measured(100, "slatedb", 4.9), "ours").met, false);
    assert.equal(judge(r6, "deno", measured(121, "slatedb", 9), "ours").met, false);
    assert.deepEqual(judge(r6, "deno", undefined, "ours"), { needed: 5, ratio: undefined, met: false });
  });

  it("every goal names the run that measures it", () => {
    const runs = Object.fromEntries(GOALS.map(({ id, run }) => [id, run]));
    const { C1, C2, C3, I1, F1, O3, P1, S1, S4 } = runs;
    assert.deepEqual({ C1, C2, C3, I1, F1, O3, P1, S1, S4 }, {
      C1: "compact",
      C2: "compact1k",
      C3: "foreground",
      I1: "ingest",
      F1: "main",
      O3: "replay",
      P1: "main",
      S1: "main",
      S4: "layers",
    });
    const c3 = goal("C3", "slatedb");
    assert.equal(judge(c3, "deno", measured(5000, "slatedb", 1), "ours").met, true);
    assert.equal(judge(c3, "deno", measured(5001, "slatedb", 30), "ours").met, false);
  });

  it("on S3 a goal may ask for a limit alone, and one id for different things on different stores", () => {
    const [median, most] = GOALS.filter(({ id }) => id === "R7");
    assert.deepEqual([median!.run, most!.run, goal("O2", "slatedb").run], ["s3", "s3", "s3"]);
    const judged = (micros: number) => judge(median!, "deno", measured(micros, "slatedb", 0.9), "ours").met;
    assert.deepEqual([judged(16_500), judged(16_501)], [true, false]);
    assert.deepEqual(GOALS.filter(({ id }) => id === "P6").map(({ run }) => run), ["main", "s3"]);
    assert.equal(allowedMicros(median!, "node"), 33_000);
  });

  it("neededRatio differs by runtime and is halved for Node", () => {
    const s1 = goal("S1", "classic-level");
    assert.deepEqual(["deno", "bun", "node"].map((runtime) => neededRatio(s1, runtime)), [6, 1, 3]);
    assert.equal(neededRatio(goal("P1", "slatedb"), "node"), 20);
  });
});
