/**
 * `stats`: the shape of the LSM tree, the log, compactions under way, the checkpoints, and what looking cost.
 *
 * @module
 */
import type { CostReport } from "../db/api.ts";
import { requestClasses } from "../db/price_sheets.ts";
import type { CheckpointRecord, CompactionRecord } from "../format/types.ts";
import type { TableRef } from "../lsm/table_ref.ts";
import type { TableFigures } from "../lsm/table_statistics.ts";
import { rangeDeletionsOf, tableBytes } from "../lsm/table_stats.ts";
import { isActive } from "../state/compaction_journal.ts";
import { isGated } from "../state/range_gate.ts";
import { CompactionsStore } from "../state/compactions_store.ts";
import { FULL_RANGE } from "../lsm/key_range.ts";
import { jsonBytes, lineBytes, shorten } from "./bytes_text.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  READ_FLAGS,
  READER_NOTE,
} from "./command.ts";
import type { StoredView } from "./inspect.ts";
import { viewOf } from "./read_commands.ts";
import { columns, countText, dollarText, plural, sizeText, timeText } from "./text_layout.ts";

/** One table as `stats` shows it. */
interface TableLine {
  readonly level: string;
  readonly ref: TableRef;
  /** Undefined for a table without statistics. */
  readonly rows: number | undefined;
  readonly figures: TableFigures;
}

async function tablesOf(view: StoredView): Promise<TableLine[]> {
  const { l0, runs } = view.levels;
  const figures = await view.figures();
  const line = (level: string, ref: TableRef): TableLine => {
    const found = figures.get(ref)!;
    const { puts, deletes, merges } = found.counts;
    const rows = ref.table.info.statsLen === 0 ? undefined : puts + deletes + merges;
    return { level, ref, rows, figures: found };
  };
  return [
    ...l0.map((ref) => line("L0", ref)),
    ...runs.flatMap((run) => run.tables.map((ref) => line(`run ${run.id}`, ref))),
  ];
}

/** What the compactor has recorded as under way; it says nothing about whether one is alive. */
async function activeCompactions({ objects }: StoredView): Promise<readonly CompactionRecord[]> {
  const found = await objects.run(new CompactionsStore(objects.store, objects.root).newest);
  return found?.compactions.recentCompactions.filter(isActive) ?? [];
}

/** Rows in the view, as a reader sees them. */
async function countKeys(view: StoredView): Promise<number> {
  let count = 0;
  for await (const batch of view.scan(FULL_RANGE, { keysOnly: true })) count += batch.length;
  return count;
}

/** Everything that is shown of one view. */
interface Shown {
  readonly view: StoredView;
  readonly tables: readonly TableLine[];
  readonly compactions: readonly CompactionRecord[];
  readonly keys: number | undefined;
}

function statsJson({ view, tables, compactions, keys }: Shown): Record<string, unknown> {
  const { id, manifest } = view.stored;
  return {
    manifestId: id,
    writerEpoch: manifest.writerEpoch,
    compactorEpoch: manifest.compactorEpoch,
    lastSeqInTables: manifest.lastL0Seq,
    rangeDeletes: isGated(manifest),
    ...(keys === undefined ? {} : { keys }),
    tables: tables.map(({ level, ref: { table: { id, info, formatVersion } }, rows, figures }) => ({
      level,
      id,
      bytes: tableBytes(info),
      rows: rows ?? null,
      pointDeletions: rows === undefined ? null : figures.counts.deletes,
      rangeDeletions: rangeDeletionsOf(info),
      pointDeletionsBytesEstimate: figures.pointBytes,
      rangeDeletionsBytesEstimate: figures.rangeBytes,
      firstKey: info.firstEntry === undefined ? null : jsonBytes(info.firstEntry),
      lastKey: info.lastEntry === undefined ? null : jsonBytes(info.lastEntry),
      formatVersion,
      filterPresent: info.filterLen > 0,
    })),
    wal: {
      objects: view.walObjects.length,
      bytes: view.walObjects.reduce((sum, object) => sum + object.size, 0),
      rowsNotInTables: view.walRows,
      rangeDeletesNotInTables: view.walRanges,
      replayAfter: manifest.replayAfterWalId,
    },
    compactions: compactions.map((record) => ({
      id: record.id,
      status: record.status,
      l0Tables: record.l0ViewIds.length,
      runs: record.sortedRuns,
    })),
    checkpoints: manifest.checkpoints,
    cost: view.objects.cost(),
  };
}

function checkpointLine(checkpoint: CheckpointRecord): string {
  const expiry = checkpoint.expireTimeSeconds === 0
    ? "never expires"
    : `expires ${timeText(checkpoint.expireTimeSeconds * 1000)}`;
  return `  ${checkpoint.id}  manifest ${checkpoint.manifestId}, ${expiry}` +
    (checkpoint.name === undefined ? "" : `, "${checkpoint.name}"`);
}

function compactionLine({ id, status, l0ViewIds, sortedRuns }: CompactionRecord): string {
  const runs = sortedRuns.length === 0 ? [] : [`${sortedRuns.length === 1 ? "run" : "runs"} ${sortedRuns.join(", ")}`];
  const l0 = l0ViewIds.length === 0 ? [] : [plural(l0ViewIds.length, "L0 table")];
  return `  ${id}  ${status}, of ${[...l0, ...runs].join(" and ") || "nothing"}`;
}

/** What requests were made and what they would cost, on a few lines. */
export function costLines(cost: CostReport): string[] {
  const { puts, gets, free } = requestClasses(cost.requests);
  const rows = Object.entries(cost.requests).flatMap(([component, kinds]) =>
    Object.entries(kinds).filter(([, count]) => count > 0)
      .map(([kind, count]) => [component, kind, countText(count)])
  );
  const lines = rows.length === 0 ? [] : columns([["component", "request", "count"], ...rows], "  ");
  lines.push(
    `  together ${countText(puts)} priced as PUT, ${countText(gets)} as GET, ${countText(free)} free; ` +
      `${sizeText(cost.bytesRead)} read, ${sizeText(cost.bytesWritten)} written`,
  );
  lines.push(
    `  ${Object.entries(cost.dollars).map(([name, dollars]) => `${name} ${dollarText(dollars)}`).join(" · ")}`,
  );
  return lines;
}

function statsLines({ view, tables, compactions, keys }: Shown): string[] {
  const { id, manifest } = view.stored;
  const tableRows = tables.reduce((sum, { rows = 0 }) => sum + rows, 0);
  const bytes = tables.reduce((sum, { ref }) => sum + tableBytes(ref.table.info), 0);
  const walBytes = view.walObjects.reduce((sum, object) => sum + object.size, 0);
  const lines = [
    `manifest ${id}, writer epoch ${manifest.writerEpoch}, compactor epoch ${manifest.compactorEpoch}`,
    `${plural(manifest.l0.length, "L0 table")}, ${plural(manifest.compacted.length, "sorted run")}: ` +
    `${sizeText(bytes)}, ${plural(tableRows, "row version")}, sequence numbers up to ${manifest.lastL0Seq} in tables`,
    `${plural(view.walObjects.length, "WAL object")} not in tables yet: ${sizeText(walBytes)}, ` +
    plural(view.walRows, "row version") +
    (view.walRanges === 0 ? "" : ` and ${plural(view.walRanges, "range delete")}`),
  ];
  if (isGated(manifest)) lines.push("may hold range deletes, so SlateDB refuses to open it");
  if (keys !== undefined) lines.push(plural(keys, "live key"));
  if (tables.length > 0) {
    const lineOf = ({ level, ref: { table: { id, info } }, rows, figures }: TableLine) => [
      level,
      id,
      sizeText(tableBytes(info)),
      rows === undefined ? "?" : countText(rows),
      rows === undefined ? "?" : countText(figures.counts.deletes),
      countText(rangeDeletionsOf(info)),
      sizeText(figures.pointBytes + figures.rangeBytes),
      info.filterLen > 0 ? "yes" : "no",
      info.firstEntry === undefined ? "-" : shorten(lineBytes(info.firstEntry), 24),
      info.lastEntry === undefined ? "-" : shorten(lineBytes(info.lastEntry), 24),
    ];
    const rows = tables.map(lineOf);
    const head = ["level", "table", "size", "rows", "deletes", "ranges", "frees", "filter", "first key", "last key"];
    lines.push("", ...columns([head, ...rows]));
  }
  lines.push(
    "",
    `${plural(compactions.length, "compaction")} recorded as under way`,
    ...compactions.map(compactionLine),
  );
  lines.push("", plural(manifest.checkpoints.length, "checkpoint"), ...manifest.checkpoints.map(checkpointLine));
  return [...lines, "", "requests of this command, and what they would cost:", ...costLines(view.objects.cost())];
}

async function runStats(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const view = await viewOf(context);
  const tables = await tablesOf(view);
  const keys = args.on("count") ? await countKeys(view) : undefined;
  const shown = { view, tables, compactions: await activeCompactions(view), keys };
  if (args.on("json")) await out.json(statsJson(shown));
  else for (const line of statsLines(shown)) await out.line(line);
  return 0;
}

/** Shows the state of a database. */
export const statsCommand: Command = {
  spec: {
    name: "stats",
    summary: "Print the shape of the LSM tree, the log, compactions, checkpoints, and what looking cost",
    details:
      "Row counts are versions of rows as the tables count them; --count reads everything. What a table frees is " +
      `about what its deletes make superfluous in older runs. ${READER_NOTE}`,
    positions: [LOCATION_POSITION],
    flags: [
      { name: "count", kind: "switch", about: "Also count the live keys, which reads the whole database" },
      JSON_FLAG,
      ...READ_FLAGS,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite stats ./data", "phyllite stats ./data --json"],
  },
  run: runStats,
};
