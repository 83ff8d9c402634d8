/**
 * Plans of figures at the edge of what is taken: they end in bounded time with finite figures, or are refused by name.
 *
 * @module
 */
import { planCost } from "../../mod.ts";
import type { PlanSettings, PlanWorkload } from "../../src/db/cost_plan_api.ts";
import { RowSizes } from "../../src/db/cost_plan_sizes.ts";
import { tableCosts } from "../../src/db/cost_plan_tables.ts";
import { S3_STANDARD } from "../../src/db/price_sheets.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { assert, describe, it } from "../support/suite.ts";

const MIB = 1024 * 1024;

function assertRefused(plan: () => unknown, message: RegExp): void {
  assert.throws(
    plan,
    (error) => error instanceof InvalidArgument && error.reason === "options" && message.test(error.message),
    String(message),
  );
}

describe("planCost at the edge of its figures", () => {
  it("refuses what comes to no finite cost, naming the field and its range", () => {
    const refusals: Array<[PlanWorkload, RegExp]> = [
      [{ rowsPerSecond: Number.MIN_VALUE }, /0 or a value between 1e-9 and 1000000000 at \["rowsPerSecond"\]/],
      [{ rowsPerSecond: 1e-300 }, /rowsPerSecond/],
      [{ rowsPerSecond: 1, pointReadsPerSecond: 1e-300 }, /pointReadsPerSecond/],
      [{ rowsPerSecond: 1, scansPerSecond: 1e-300 }, /scansPerSecond/],
      [{ rowsPerSecond: 1, hoursPerDay: 1e-300 }, /0 or a value between 1e-9 and 24 at \["hoursPerDay"\]/],
      [{ rowsPerSecond: 1, rowsPerScan: 1e13 }, /between 1 and 1000000000000 at \["rowsPerScan"\]/],
      [{ rowsPerSecond: 1, existingRows: Number.MAX_SAFE_INTEGER }, /existingRows is .* of 116 bytes.* at most 97060/],
      [{ rowsPerSecond: 1, existingRows: 1e9, valueBytes: 512 * MIB }, /existingRows is .* at most 2097151 of that/],
      [{ rowsPerSecond: 1e6, valueBytes: 512 * MIB }, /rowsPerSecond is .* at most 2047 of that size/],
    ];
    for (const [workload, message] of refusals) assertRefused(() => planCost({}, workload), message);
  });

  it("refuses sheets that are none, naming the sheet's field", () => {
    const sheets: Array<[unknown, RegExp]> = [
      [[{ ...S3_STANDARD, putPer1000: NaN }], /sheets: .*\[0\]\["putPer1000"\]/],
      [[S3_STANDARD, { ...S3_STANDARD, name: "x", getPer1000: -1 }], /sheets: .*\[1\]\["getPer1000"\]/],
      [[{ ...S3_STANDARD, storagePerGbMonth: Infinity }], /storagePerGbMonth/],
      [[{ ...S3_STANDARD, bytesPerGb: 0 }], /bytesPerGb/],
      [[{ ...S3_STANDARD, name: "" }], /name/],
      [[{ name: "x", source: "y" }], /putPer1000/],
      [[S3_STANDARD, S3_STANDARD], /two of them have the name "S3 Standard"/],
      [S3_STANDARD, /sheets/],
      [null, /sheets/],
    ];
    for (const [given, message] of sheets) {
      assertRefused(() => planCost({}, { rowsPerSecond: 1 }, { sheets: given as [] }), message);
    }
    assert.deepEqual(planCost({}, { rowsPerSecond: 1 }, { sheets: [] }).facts, []);
  });

  it("plans the largest figures with finite results, in bounded time", () => {
    const leveled = { compactor: { scheduler: "leveled", maxSstBytes: 1 } } as const;
    const cases: Array<[PlanSettings, PlanWorkload]> = [
      [{}, { rowsPerSecond: 1, existingRows: 9.7e12 }],
      [{}, { rowsPerSecond: 1e5, existingRows: 1e12, keys: "ascending" }],
      [{ compactor: { maxSstBytes: 1 } }, { rowsPerSecond: 1e5, existingRows: 1e9 }],
      [leveled, { rowsPerSecond: 1e5, existingRows: 1e9 }],
      [leveled, { rowsPerSecond: 1e5, distinctKeys: 1e6 }],
      [{}, { rowsPerSecond: 1e-9, pointReadsPerSecond: 1e-9, scansPerSecond: 1e-9, hoursPerDay: 1e-9 }],
      [{}, { rowsPerSecond: 2047, valueBytes: 512 * MIB, scansPerSecond: 1e9, rowsPerScan: 1e12 }],
    ];
    for (const [settings, workload] of cases) {
      const begun = performance.now();
      const plan = planCost(settings, workload);
      const what = JSON.stringify([settings, workload]);
      assert.ok(performance.now() - begun < 20_000, `${what} took ${performance.now() - begun} ms`);
      for (const part of [plan.perMonth, ...plan.parts.map((part) => part.perMonth)]) {
        for (const value of [...Object.values(part.main), ...Object.values(part.dollars)]) {
          assert.ok(Number.isFinite(value) && value >= 0, `${what}: ${JSON.stringify(part)}`);
        }
      }
      assert.ok(!/NaN|Infinity|undefined/.test(JSON.stringify([plan.facts, plan.parts])), what);
    }
  });

  it("a long scan asks for as much as its rows are long", () => {
    const scan = (rowsPerScan: number) => {
      const { parts } = planCost({}, { rowsPerSecond: 0, existingRows: 1e9, scansPerSecond: 1, rowsPerScan });
      return parts.find(({ name }) => name === "scans")!.perMonth.main;
    };
    const [long, longer] = [scan(1e8), scan(1e9)];
    assert.ok(Math.abs(longer.gets / long.gets - 10) < 0.1, `${longer.gets / long.gets}`);
    assert.ok(Math.abs(longer.bytesRead / longer.gets - 2 * MIB) < 0.02 * MIB, "2 MiB each");
  });

  it("a run of more tables than are told apart costs what all of them cost", () => {
    const sizes = new RowSizes({
      keyBytes: 16,
      valueBytes: 100,
      isAscending: false,
      compressionRatio: 1,
      blockSizeBytes: 4096,
      minFilterKeys: 1000,
      filterBitsPerKey: 10,
    });
    const of = (existingRows: number) =>
      tableCosts(
        {
          sizes,
          rowsPerTable: 500_000,
          isAscending: false,
          distinctKeys: Infinity,
          existingRows,
          compactor: undefined,
        },
        0,
      );
    const bytes = sizes.table(1e9).data;
    assert.equal(of(1e9).liveTables, 1, "nobody compacts: one table");
    const compactor = { maxSstBytes: MIB } as Parameters<typeof tableCosts>[0]["compactor"];
    const { liveTables, liveBytes } = tableCosts(
      { sizes, rowsPerTable: 500_000, isAscending: false, distinctKeys: Infinity, existingRows: 1e9, compactor },
      0,
    );
    assert.equal(liveTables, Math.ceil(bytes / MIB));
    assert.ok(Math.abs(liveBytes / sizes.table(1e9).file - 1) < 0.01, `${liveBytes}`);
  });
});
