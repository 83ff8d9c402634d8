/**
 * `gc`: one garbage collection from outside, or what one would delete.
 *
 * @module
 */
import { checkCollect, collectAt } from "../db/collect.ts";
import type { GcReport, GcResource } from "../db/admin_api.ts";
import { surfaced } from "../db/reads.ts";
import { type Command, type CommandContext, JSON_FLAG, LOCATION_FLAGS, LOCATION_POSITION } from "./command.ts";
import { SAFE_AGE_MILLIS, SAFE_FENCE_AGE_MILLIS } from "../db/gc_options.ts";
import { missingDatabase, placeOf } from "./places.ts";
import { columns, countText, plural, sizeText } from "./text_layout.ts";
import { UsageError } from "./usage_error.ts";
import { InvalidArgument } from "../errors.ts";

/** Names shown of each kind. */
const NAMES_MAX = 10;

const KINDS: ReadonlyArray<readonly [resource: GcResource, name: string]> = [
  ["compacted", "tables"],
  ["wal", "WAL objects"],
  ["manifest", "manifest versions"],
  ["compactions", "compactor states"],
];

/** Why objects stay, in words; a reason without words is shown as it is. */
const REASONS: Readonly<Record<string, string>> = {
  referenced: "in use",
  checkpoint: "held by a checkpoint",
  live: "read by the next opening",
  young: "too young",
  "newest-two": "newest two",
  "active-compaction": "a compaction may need it",
  "newest-l0": "a writer may be about to publish it",
  "no-l0": "a writer may be about to publish it",
  unreadable: "unreadable",
  boundary: "the boundary file forbids it",
  foreign: "not ours",
  "delete-failed": "the store refused",
};

function reportLines(report: GcReport): string[] {
  const verb = report.dryRun ? "would delete" : "deleted";
  const rows = KINDS.map(([resource, name]) => [
    name,
    countText(report.deleted[resource].length),
    Object.entries(report.kept[resource]).map(([reason, count]) =>
      reason === "fence" ? plural(count, "fence") : `${countText(count)} ${REASONS[reason] ?? reason}`
    ).join(", ") || "none",
  ]);
  const lines = columns([["", verb, "kept"], ...rows]);
  const paths = KINDS.flatMap(([resource]) => report.deleted[resource].slice(0, NAMES_MAX));
  const total = KINDS.reduce((sum, [resource]) => sum + report.deleted[resource].length, 0);
  lines.push(
    "",
    `${verb} ${plural(total, "object")}, ${sizeText(report.deletedBytes)}`,
    ...paths.map((path) => `  ${path}`),
  );
  if (total > paths.length) lines.push(`  and ${countText(total - paths.length)} more; --json names all`);
  if (report.expiredCheckpoints.length > 0) {
    const removed = report.dryRun ? "would remove" : "removed";
    lines.push(`${removed} ${plural(report.expiredCheckpoints.length, "checkpoint")} that had ended`);
  }
  if (report.foreign.length > 0) {
    lines.push(
      "names that are not ours, left alone:",
      ...report.foreign.slice(0, NAMES_MAX).map((path) => `  ${path}`),
    );
  }
  if (report.stopped !== undefined) lines.push(`nothing was deleted. ${report.stopped}`);
  return lines;
}

function checkAge(flag: string, millis: number | undefined, least: number, leastText: string): void {
  if (millis === undefined || millis >= least) return;
  throw new UsageError(
    `--${flag} must be at least ${leastText}; add --unsafe-age where no other process works on the database`,
  );
}

async function runGc(context: CommandContext): Promise<number> {
  const { args, out, runtime } = context;
  const place = await placeOf(context);
  const minAgeMillis = args.count("min-age");
  const walFenceMinAgeMillis = args.count("wal-fence-min-age");
  if (!args.on("unsafe-age")) {
    checkAge("min-age", minAgeMillis, SAFE_AGE_MILLIS, "1m");
    checkAge("wal-fence-min-age", walFenceMinAgeMillis, SAFE_FENCE_AGE_MILLIS, "1d");
  }
  const checked = checkCollect({
    dryRun: args.on("dry-run"),
    allowUnsafeAge: args.on("unsafe-age"),
    ...(minAgeMillis === undefined ? {} : { minAgeMillis }),
    ...(walFenceMinAgeMillis === undefined ? {} : { walFenceMinAgeMillis }),
    ...(place.walStore === undefined ? {} : { wal: { store: place.walStore } }),
  });
  let report: GcReport;
  try {
    report = await runtime.promise(surfaced(collectAt(place, checked)));
  } catch (error) {
    throw error instanceof InvalidArgument && error.reason === "missing-database" ? missingDatabase(place) : error;
  }
  if (args.on("json")) await out.json(report);
  else for (const line of reportLines(report)) await out.line(line);
  return report.stopped === undefined ? 0 : 1;
}

/** Collects garbage once. */
export const gcCommand: Command = {
  spec: {
    name: "gc",
    summary: "Delete stored objects that nothing reaches any more",
    details: "Removes checkpoints that have ended, then old tables, versions and parts of the log. May run beside a " +
      "live writer, and fences nobody. A writer that is open collects its own garbage; this is for cron, and for " +
      "looking. Exit code 1 when a safety rule stopped it.",
    positions: [LOCATION_POSITION],
    flags: [
      { name: "dry-run", kind: "switch", about: "Change nothing, print what would be deleted" },
      { name: "min-age", kind: "span", value: "SPAN", about: "Leave alone what is younger; 5m unless given" },
      {
        name: "wal-fence-min-age",
        kind: "span",
        value: "SPAN",
        about: "Delete fences of the log that are older, a day at least; none unless given",
      },
      { name: "unsafe-age", kind: "switch", about: "Take ages below a minute: only where nobody else works there" },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite gc ./data --dry-run", "phyllite gc ./data --min-age 1h --json"],
  },
  run: runGc,
};
