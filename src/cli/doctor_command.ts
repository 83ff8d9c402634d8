/**
 * `doctor`: whether a store keeps the promises that a database stands on.
 *
 * @module
 */
import { folderOf, isInS3 } from "../db/location.ts";
import { PRICE_SHEETS, S3_STANDARD, storeDollars, storeUsage } from "../db/price_sheets.ts";
import { type DoctorReport, examineStore, plannedRequests } from "../store/doctor/examine.ts";
import { fileStore } from "../store/file_store.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { type Command, type CommandContext, JSON_FLAG, LOCATION_FLAGS, LOCATION_POSITION } from "./command.ts";
import { keepingFolders } from "./empty_folders.ts";
import { placeOf } from "./places.ts";
import { Progress } from "./progress.ts";
import { columns, dollarText, plural, secondsText, sizeText } from "./text_layout.ts";
import { CommandFailure } from "./usage_error.ts";

/** Names shown of what could not be deleted. */
const NAMES_MAX = 10;

/** One store to examine. */
interface Patient {
  /** What the report calls it. */
  readonly part: "tables" | "log";
  /** As it stands on the command line. */
  readonly location: string;
  readonly store: ObjectStoreShape;
  readonly root: string;
}

function dollars(requests: Readonly<Record<string, number>>, bytesRead = 0, bytesWritten = 0): Record<string, number> {
  const usage = storeUsage({ requests: { doctor: requests }, bytesRead, bytesWritten });
  return Object.fromEntries(PRICE_SHEETS.map((sheet) => [sheet.name, storeDollars(usage, sheet)]));
}

function priceText(prices: Record<string, number>): string {
  return `${dollarText(prices[S3_STANDARD.name]!)} at ${S3_STANDARD.name} prices`;
}

function total(requests: Readonly<Record<string, number>>): number {
  return Object.values(requests).reduce((sum, count) => sum + count, 0);
}

function reportLines(report: DoctorReport): string[] {
  const { rows, requests, bytesRead, bytesWritten, millis, verdict } = report;
  const marks = { pass: "pass", fail: "FAIL", warn: "warn", skipped: "skip" };
  const costs = priceText(dollars(requests, bytesRead, bytesWritten));
  return [
    ...columns(rows.map((row) => [marks[row.verdict], row.name, row.detail])),
    "",
    `${plural(total(requests), "request")}, ${sizeText(bytesWritten)} up, ${sizeText(bytesRead)} down, ` +
    `${secondsText(millis)}: ${costs}`,
    verdict,
  ];
}

function leftText(paths: ReadonlyArray<string>): string {
  const names = paths.slice(0, NAMES_MAX).map((path) => `  ${path}`);
  if (paths.length > names.length) names.push(`  and ${paths.length - names.length} more`);
  return [`${plural(paths.length, "object")} may be left behind, delete by hand:`, ...names].join("\n");
}

/** Examines one store while a bar shows how far it is; a signal ends it, after everything is deleted again. */
async function examined(context: CommandContext, patient: Patient): Promise<DoctorReport> {
  const { args, err, io, runtime } = context;
  const progress = new Progress(err, runtime.clock, { label: "examine", unit: "checks", total: undefined });
  const stopped = new AbortController();
  const unlisten = io.onStop(() => stopped.abort());
  let left: ReadonlyArray<string> = [];
  let done = 0;
  const examination = examineStore(patient.store, {
    root: patient.root,
    quick: args.on("quick"),
    pages: args.on("pages"),
    onRow: (_row, rows) => void progress.step(++done, rows).catch(() => {}),
    onLeft: (paths) => left = paths,
  });
  try {
    return await runtime.promise(examination, stopped.signal);
  } catch (error) {
    if (!stopped.signal.aborted) throw error;
    throw new CommandFailure(
      "interrupted",
      left.length === 0 ? "Stopped; everything that was written is deleted again" : `Stopped; ${leftText(left)}`,
    );
  } finally {
    unlisten();
    await progress.done();
  }
}

async function examine(context: CommandContext, patient: Patient): Promise<boolean> {
  const { args, out, err, runtime } = context;
  const options = { quick: args.on("quick"), pages: args.on("pages") };
  const planned = await runtime.promise(plannedRequests(patient.store, options));
  const inWords = args.on("json") ? undefined : patient.part;
  if (inWords !== undefined) {
    await out.line(
      `${inWords}: ${patient.location}, about ${plural(total(planned), "request")}, ${priceText(dollars(planned))}`,
    );
    await out.flush();
  }
  const folder = isInS3(patient.location) ? undefined : folderOf(patient.location);
  const report = await keepingFolders(folder, patient.root, () => examined(context, patient));
  if (inWords === undefined) {
    const { requests, bytesRead, bytesWritten } = report;
    await out.json({
      part: patient.part,
      ...report,
      dollars: dollars(requests, bytesRead, bytesWritten),
      plannedRequests: planned,
    });
  } else {
    for (const line of reportLines(report)) await out.line(line);
  }
  if (report.left.length > 0) await err.line(`phyllite: ${leftText(report.left)}`);
  return report.fitness !== "unfit";
}

async function runDoctor(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const place = await placeOf(context);
  const { root, walStore } = place;
  // The folder alone: the store of a database by name reaches the ones beside it too.
  const store = place.folder === undefined ? place.store : fileStore(place.folder);
  const patients: Patient[] = [{ part: "tables", location: args.position("location"), store, root }];
  const walLocation = args.text("wal-location");
  if (walLocation !== undefined && walStore !== undefined) {
    patients.push({ part: "log", location: walLocation, store: walStore, root: "" });
  }
  let areFit = true;
  for (const [i, patient] of patients.entries()) {
    if (i > 0 && !args.on("json")) await out.line();
    if (!await examine(context, patient)) areFit = false;
  }
  return areFit ? 0 : 1;
}

/** Examines a store. */
export const doctorCommand: Command = {
  spec: {
    name: "doctor",
    summary: "Examine whether a store keeps the promises that a database needs, and how fast it is",
    details:
      "Writes, reads, lists and deletes objects in a folder of a random name at the location, and deletes them " +
      "again, whatever happens. Databases there are not touched, and may be open.\n" +
      "Exit code 0 when the store is fit, with warnings or without; 1 when a promise is broken.",
    positions: [LOCATION_POSITION],
    flags: [
      { name: "quick", kind: "switch", about: "Fewer rounds and smaller objects: 3 MiB up instead of 41" },
      { name: "pages", kind: "switch", about: "Also listings of more than a page, which takes 1,100 small objects" },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: [
      "phyllite doctor ./data",
      'phyllite doctor "s3://bucket/path?endpoint=https://s3.example.com&region=auto" --quick --json',
    ],
  },
  run: runDoctor,
};
