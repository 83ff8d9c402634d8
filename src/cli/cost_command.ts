/**
 * `cost`: what a database costs as it is, or what one would.
 *
 * @module
 */
import type { PricedUsage, PriceSheet } from "../db/cost_api.ts";
import { idleReader, idleWriter } from "../db/cost_idle.ts";
import { planCost } from "../db/cost_plan.ts";
import type { CostPlan } from "../db/cost_plan_api.ts";
import { PRICE_SHEETS, R2, S3_EXPRESS, S3_STANDARD, storageDollars, withDollars } from "../db/price_sheets.ts";
import { resolveReaderOptions } from "../db/reader_options.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  MERGE_FLAG,
  READER_NOTE,
} from "./command.ts";
import { PLAN_FLAGS, planFlagGiven, settingsOf, workloadOf } from "./cost_plan_flags.ts";
import { type CostSurvey, survey } from "./cost_survey.ts";
import { placeOf } from "./places.ts";
import { costLines } from "./stats_command.ts";
import { columns, countText, dollarText, plural, sizeText } from "./text_layout.ts";
import { UsageError } from "./usage_error.ts";

/** Sheets by what they are called on the command line. */
const SHEETS: Readonly<Record<string, PriceSheet>> = { s3: S3_STANDARD, "s3-express": S3_EXPRESS, r2: R2 };
/** Reads of a sample, at most. */
const SAMPLE_MAX = 10_000;
/** How often a writer looks out in the example of what that costs, ms. */
const EXAMPLE_POLL_MILLIS = 5000;

function sheetsOf({ args }: CommandContext): readonly PriceSheet[] {
  const name = args.text("sheet");
  return name === undefined ? PRICE_SHEETS : [SHEETS[name]!];
}

/** Dollars by sheet, in the order of the sheets. */
function cells(dollars: Readonly<Record<string, number>>, sheets: readonly PriceSheet[]): string[] {
  return sheets.map(({ name }) => dollarText(dollars[name] ?? 0));
}

function requestText({ main, wal }: PricedUsage): string {
  const [puts, gets] = [main.puts + (wal?.puts ?? 0), main.gets + (wal?.gets ?? 0)];
  return `${countText(Math.round(puts))} PUT, ${countText(Math.round(gets))} GET`;
}

function sourceLines(sheets: readonly PriceSheet[]): string[] {
  return ["", "Prices:", ...sheets.map(({ name, source }) => `  ${name}: ${source}`)];
}

/** What resting costs, by settings. */
function idleRows(
  found: CostSurvey,
  isWalApart: boolean,
): Array<readonly [what: string, usage: PricedUsage, name: string]> {
  const managed = idleReader({ ...resolveReaderOptions(), isWalApart });
  return [
    ["a writer", withDollars(idleWriter({ idlePollMillis: Infinity })), "writer"],
    [
      "a writer that looks out every 5 s (idlePollMillis)",
      withDollars(idleWriter({ idlePollMillis: EXAMPLE_POLL_MILLIS })),
      "writerLookingOut",
    ],
    ["a managed reader, every 10 s", withDollars(managed), "managedReader"],
    ["a following reader, every 10 s", found.follower, "followingReader"],
  ];
}

function surveyLines(found: CostSurvey, sheets: readonly PriceSheet[], isWalApart: boolean): string[] {
  const bytes = found.folders.reduce((sum, folder) => sum + folder.bytes, 0);
  const objects = found.folders.reduce((sum, folder) => sum + folder.objects, 0);
  const names = sheets.map(({ name }) => name);
  const rows = [...found.folders, { name: "together", objects, bytes }].map((folder) => [
    folder.name,
    countText(folder.objects),
    sizeText(folder.bytes),
    ...sheets.map((sheet) => dollarText(storageDollars(folder.bytes, sheet))),
  ]);
  const lines = [
    "Stored, and what keeping it costs a month:",
    ...columns([["", "objects", "size", ...names], ...rows], "  "),
    "",
    "A month of rest, for each process that has it open:",
    ...columns(
      [
        ["", "requests", ...names],
        ...idleRows(found, isWalApart).map(([what, usage]) => [
          what,
          requestText(usage),
          ...cells(usage.dollars, sheets),
        ]),
      ],
      "  ",
    ),
    "",
    `Opening a reader that follows took ${requestText(found.opening)}`,
  ];
  if (found.sample !== undefined) lines.push("", ...sampleLines(found.sample, sheets));
  const asked = {
    ...found.asked,
    dollars: Object.fromEntries(names.map((name) => [name, found.asked.dollars[name]!])),
  };
  return [
    ...lines,
    "",
    "Requests of this command, and what they would cost:",
    ...costLines(asked),
    ...sourceLines(sheets),
  ];
}

function sampleLines(sample: NonNullable<CostSurvey["sample"]>, sheets: readonly PriceSheet[]): string[] {
  const { reads, scanRows, perMillionGets, perMillionScans } = sample;
  if (perMillionGets === undefined || perMillionScans === undefined) return ["There are no rows to sample"];
  const per = (usage: PricedUsage): string => (usage.main.gets / 1e6).toFixed(2);
  return [
    `Read with nothing in memory, per million, from ${plural(reads, "point read")} and one scan of ${
      plural(scanRows, "row")
    }:`,
    ...columns([
      ["", "GETs each", "bytes each", ...sheets.map(({ name }) => name)],
      ...[["point reads", perMillionGets] as const, ["scans", perMillionScans] as const].map(([what, usage]) => [
        what,
        per(usage),
        sizeText(Math.round(usage.main.bytesRead / 1e6)),
        ...cells(usage.dollars, sheets),
      ]),
    ], "  "),
  ];
}

function planLines(plan: CostPlan, sheets: readonly PriceSheet[]): string[] {
  const { figures, stored } = plan;
  const names = sheets.map(({ name }) => name);
  const first = sheets[0]!.name;
  const rows = plan.parts.map((part) => [
    part.name,
    requestText(part.perMonth),
    `${(part.share[first]! * 100).toFixed(0)} %`,
    ...cells(part.perMonth.dollars, sheets),
  ]);
  return [
    `A month of ${first} requests, and storage, by part:`,
    ...columns([
      ["", "requests", "share", ...names],
      ...rows,
      ["requests together", requestText(plan.perMonth), "", ...cells(plan.perMonth.dollars, sheets)],
      [`${sizeText(Math.round(stored.bytes))} stored`, "", "", ...cells(stored.dollarsPerMonth, sheets)],
      ["together", "", "", ...cells(plan.dollarsPerMonth, sheets)],
    ], "  "),
    "",
    ...plan.parts.map(({ name, formula }) => `  ${name}: ${formula}`),
    "",
    `  ${figures.writeAmplification.toFixed(1)} bytes written per byte of keys and values`,
    ...plan.facts.map((fact) => `  ${fact}`),
    ...sourceLines(sheets),
  ];
}

async function runPlan(context: CommandContext): Promise<number> {
  const { args, out } = context;
  if (args.optionalPosition("location") !== undefined) {
    throw new UsageError("cost --plan takes no location: nothing is read");
  }
  if (args.count("sample") !== undefined) throw new UsageError("--sample reads a database: leave out --plan");
  const sheets = sheetsOf(context);
  const plan = planCost(settingsOf(args), workloadOf(args), { sheets });
  if (args.on("json")) await out.json(plan);
  else for (const line of planLines(plan, sheets)) await out.line(line);
  return 0;
}

async function runSurvey(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const planFlag = planFlagGiven(args);
  if (planFlag !== undefined) throw new UsageError(`--${planFlag} belongs to a plan: add --plan`);
  if (args.optionalPosition("location") === undefined) {
    throw new UsageError(`cost needs <location>: ${LOCATION_POSITION.about}; or --plan`);
  }
  const sample = args.count("sample");
  if (sample !== undefined && sample > SAMPLE_MAX) throw new UsageError(`--sample must be at most ${SAMPLE_MAX}`);
  const place = await placeOf(context);
  const sheets = sheetsOf(context);
  const found = await survey(context, place, sample);
  const isWalApart = place.walStore !== undefined;
  if (args.on("json")) await out.json(surveyJson(found, sheets, isWalApart));
  else for (const line of surveyLines(found, sheets, isWalApart)) await out.line(line);
  return 0;
}

function surveyJson(found: CostSurvey, sheets: readonly PriceSheet[], isWalApart: boolean): Record<string, unknown> {
  const bytes = found.folders.reduce((sum, folder) => sum + folder.bytes, 0);
  return {
    folders: Object.fromEntries(found.folders.map(({ name, ...size }) => [name, size])),
    storedBytes: bytes,
    storageDollarsPerMonth: Object.fromEntries(sheets.map((sheet) => [sheet.name, storageDollars(bytes, sheet)])),
    opening: found.opening,
    idlePerMonth: Object.fromEntries(idleRows(found, isWalApart).map(([, usage, name]) => [name, usage])),
    ...(found.sample === undefined ? {} : { sample: found.sample }),
    cost: found.asked,
    sheets,
  };
}

/** Tells what a database costs. */
export const costCommand: Command = {
  spec: {
    name: "cost",
    summary: "Tell what a database costs, or plan what one would",
    details:
      "With a location: what is stored, what that and a month of rest cost, and with --sample what reads ask that " +
      `find nothing in memory. ${READER_NOTE} With --plan: what a workload would cost, from the flags alone; PUT means ` +
      "everything that is priced as one, listings too. Dollars are list prices without free tiers.",
    positions: [{ ...LOCATION_POSITION, optional: true }],
    flags: [
      { name: "sample", kind: "count", value: "N", about: "Also read N rows and one scan, with nothing in memory" },
      { name: "sheet", kind: "choice", choices: Object.keys(SHEETS), about: "Prices of one store only" },
      JSON_FLAG,
      MERGE_FLAG,
      ...LOCATION_FLAGS,
      { name: "plan", kind: "switch", about: "Predict from the flags below instead of looking at a database" },
      ...PLAN_FLAGS,
    ],
    examples: [
      "phyllite cost ./data --sample 20",
      "phyllite cost --plan --rows-per-second 200 --value-bytes 400 --max-wal-puts-per-second 1 --sheet s3",
    ],
  },
  run: (context) => context.args.on("plan") ? runPlan(context) : runSurvey(context),
};
