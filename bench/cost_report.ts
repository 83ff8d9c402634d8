/**
 * Writes down what was counted on S3: the goals for `bench/README.md`, and the dollars for the table in `README.md`.
 *
 * Invariant: the table is a function of the newest recorded count alone, so that a test can tell whether it was changed
 * by hand. It is laid out as `deno fmt` would.
 *
 * @module
 */
import type { PriceSheet } from "../src/db/cost_api.ts";
import { S3_STANDARD } from "../src/db/price_sheets.ts";
import { COST_GOALS, costLimit, judgeCost } from "./cost_goals.ts";
import type { PeersLine } from "./history.ts";
import type { PeerRun } from "./peers.ts";
import { FULL_SIZE, OURS } from "./s3_cost_run.ts";
import type { CaseResult } from "./statistics.ts";

/** What encloses the table in `README.md`. */
export const COST_MARKS = ["<!-- cost table -->", "<!-- /cost table -->"] as const;

/** Bytes of the rows that the table speaks of. */
const ROW_BYTES = 116;
const MINUTES_PER_MONTH = 30 * 24 * 60;
const RUNTIME_NAMES: Readonly<Record<string, string>> = { deno: "Deno", bun: "Bun", node: "Node" };

type Cases = Readonly<Record<string, CaseResult>>;

/** A line of the table: how many units of a count make what is priced. */
interface PricedCase {
  readonly what: string;
  readonly name: string;
  readonly unit: string;
  readonly units: number;
}

const PRICED: readonly PricedCase[] = [
  { what: "a million durable writes, one by one", name: "durable", unit: "write", units: 1e6 },
  { what: "a million writes in a stream, not awaited", name: "small", unit: "MB", units: ROW_BYTES },
  { what: "a million point reads of cold blocks", name: "cold", unit: "read", units: 1e6 },
  { what: "a million scans of 100 rows, cold", name: "scan100", unit: "scan", units: 1e6 },
  { what: "a month without a read or a write", name: "rest", unit: "minute", units: MINUTES_PER_MONTH },
];
/** Cases that read rows: what an engine asks by the clock meanwhile is not their cost. */
const READS: ReadonlySet<string> = new Set(["cold", "scan100"]);

/** Dollars of one line for one contender, or undefined when it was not counted. */
export function dollarsOf(
  { name, unit, units }: PricedCase,
  cases: Cases,
  contender: string,
  sheet: PriceSheet,
): number | undefined {
  const count = (what: string) => cases[`${name}_${what}_per_${unit}`]?.values[contender]?.[0];
  const [puts, gets, lists] = [count("puts"), count("gets"), count("lists")];
  if (puts === undefined || gets === undefined || lists === undefined) return undefined;
  const dear = READS.has(name) ? 0 : puts + lists;
  return units * (dear * sheet.putPer1000 + gets * sheet.getPer1000) / 1000;
}

/** The table of `README.md`, marks included, from the newest line that has counts; the marks alone without one. */
export function renderCostTable(line: PeersLine | undefined): string {
  const run = line?.runs.find(({ settings }) => settings.run === "s3cost");
  const [runtime, cases] = Object.entries(run?.cases ?? {})[0] ?? [];
  if (line === undefined || run === undefined || runtime === undefined || cases === undefined) {
    return COST_MARKS.join("\n");
  }
  const body = renderDollars(line, run.measured?.date ?? line.date, runtime, cases);
  return [COST_MARKS[0], "", body, "", COST_MARKS[1]].join("\n");
}

function renderDollars(line: PeersLine, date: string, runtime: string, cases: Cases): string {
  const dollars = (contender: string, priced: PricedCase) => {
    const sum = dollarsOf(priced, cases, contender, S3_STANDARD);
    return sum === undefined ? "-" : sum === 0 ? "$0" : `$${sum < 0.1 ? sum.toPrecision(2) : sum.toFixed(2)}`;
  };
  const version = line.peers["@slatedb/uniffi"] ?? "";
  const rows = PRICED.map((priced) => [priced.what, dollars(OURS, priced), dollars("slatedb", priced)]);
  const { smallMBps, rows: count } = FULL_SIZE;
  const about = `Counted on the wire on ${date.slice(0, 10)} at commit ${line.commit}, both engines in one run on ` +
    `${RUNTIME_NAMES[runtime]} with their default options; priced by ${S3_STANDARD.name} (${S3_STANDARD.source}). ` +
    `Rows of ${ROW_BYTES} bytes; the stream brings ${smallMBps} MB a second, its compactions included; reads are of ` +
    `${count.toLocaleString("en-US")} rows in one table whose index is in memory, scans have no cache.`;
  return [alignedTable(["What", "Phyllite", `SlateDB ${version}`], rows), "", ...wrapped(about)].join("\n");
}

/** The first column to the left, the others to the right, padded as the formatter pads. */
function alignedTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, i) => Math.max(3, ...[head, ...rows].map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join(" | ")} |`;
  const rule = `| ${widths.map((width, i) => i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`).join(" | ")} |`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

const LINE_WIDTH = 120;

function wrapped(text: string): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1)!;
    if (last !== "" && last.length + 1 + word.length > LINE_WIDTH) lines.push(word);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines;
}

/** Puts the table between its marks; undefined when the document has none. */
export function withCostTable(document: string, table: string): string | undefined {
  const [from, to] = [document.indexOf(COST_MARKS[0]), document.indexOf(COST_MARKS[1])];
  if (from < 0 || to < from) return undefined;
  return document.slice(0, from) + table + document.slice(to + COST_MARKS[1].length);
}

/** Head and rows of the goals' table, a pair of columns and a verdict per runtime. */
export function costGoalRows(run: PeerRun): { readonly head: readonly string[]; readonly rows: string[][] } {
  const runtimes = Object.keys(run.cases);
  const rows = COST_GOALS.map((goal) => {
    const cells = runtimes.flatMap((runtime) => {
      const { ours, theirs, met } = judgeCost(goal, run.cases[runtime]);
      const limit = costLimit(goal, theirs);
      const verdict = ours === undefined ? "-" : met ? "met" : "**missed**";
      return [short(limit), short(ours), short(theirs), verdict];
    });
    return [goal.id, goal.what, goal.unit, ...cells];
  });
  const head = runtimes.flatMap((runtime) => ["at most", `Phyllite, ${RUNTIME_NAMES[runtime]}`, "SlateDB", ""]);
  return { head: ["id", "what", "counted", ...head], rows };
}

function short(value: number | undefined): string {
  if (value === undefined) return "-";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}
