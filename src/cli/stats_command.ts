/**
 * `stats`: the shape of the LSM tree, the log, compactions under way, the checkpoints, and what looking cost.
 *
 * @module
 */
import { Effect } from "effect";
import type { CostReport } from "../db/api.ts";
import { requestClasses } from "../db/price_sheets.ts";
import type { SstStats } from "../format/sst_tables.ts";
import type { CheckpointRecord, CompactionRecord, SstView } from "../format/types.ts";
import { readStats, rowsOf, tableBytes } from "../lsm/table_stats.ts";
import { Table } from "../lsm/table.ts";
import { isActive } from "../state/compaction_journal.ts";
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

/** Tables whose statistics are read at once. */
const STATS_READS = 8;

/** One table as `stats` shows it. */
interface TableLine {
  readonly level: string;
  readonly view: SstView;
  readonly stats: SstStats | undefined;
}

async function tablesOf(view: StoredView): Promise<TableLine[]> {
  const { manifest } = view.stored;
  const places = [
    ...manifest.l0.map((table) => ({ level: "L0", table })),
    ...manifest.compacted.flatMap((run) => run.ssts.map((table) => ({ level: `run ${run.id}`, table }))),
  ];
  return await view.objects.run(Effect.forEach(places, ({ level, table }) => {
    const path = view.objects.tablePath(manifest, table.sstId);
    const read = readStats(view.objects.store, new Table(table.sstId, path, table.info, table.formatVersion));
    return Effect.map(read, (stats): TableLine => ({ level, view: table, stats }));
  }, { concurrency: STATS_READS }));
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
    ...(keys === undefined ? {} : { keys }),
    tables: tables.map(({ level, view: table, stats }) => ({
      level,
      id: table.sstId,
      bytes: tableBytes(table.info),
      rows: stats === undefined ? null : rowsOf(stats),
      pointDeletions: stats?.numDeletes ?? null,
      firstKey: table.info.firstEntry === undefined ? null : jsonBytes(table.info.firstEntry),
      lastKey: table.info.lastEntry === undefined ? null : jsonBytes(table.info.lastEntry),
      formatVersion: table.formatVersion,
      filterPresent: table.info.filterLen > 0,
    })),
    wal: {
      objects: view.walObjects.length,
      bytes: view.walObjects.reduce((sum, object) => sum + object.size, 0),
      rowsNotInTables: view.walRows,
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
  const tableRows = tables.reduce((sum, { stats }) => sum + (stats === undefined ? 0 : rowsOf(stats)), 0);
  const bytes = tables.reduce((sum, table) => sum + tableBytes(table.view.info), 0);
  const walBytes = view.walObjects.reduce((sum, object) => sum + object.size, 0);
  const lines = [
    `manifest ${id}, writer epoch ${manifest.writerEpoch}, compactor epoch ${manifest.compactorEpoch}`,
    `${plural(manifest.l0.length, "L0 table")}, ${plural(manifest.compacted.length, "sorted run")}: ` +
    `${sizeText(bytes)}, ${plural(tableRows, "row version")}, sequence numbers up to ${manifest.lastL0Seq} in tables`,
    `${plural(view.walObjects.length, "WAL object")} not in tables yet: ${sizeText(walBytes)}, ` +
    plural(view.walRows, "row version"),
  ];
  if (keys !== undefined) lines.push(plural(keys, "live key"));
  if (tables.length > 0) {
    const rows = tables.map(({ level, view: table, stats }) => [
      level,
      table.sstId,
      sizeText(tableBytes(table.info)),
      stats === undefined ? "?" : countText(rowsOf(stats)),
      stats === undefined ? "?" : countText(stats.numDeletes),
      table.info.filterLen > 0 ? "yes" : "no",
      table.info.firstEntry === undefined ? "-" : shorten(lineBytes(table.info.firstEntry), 24),
      table.info.lastEntry === undefined ? "-" : shorten(lineBytes(table.info.lastEntry), 24),
    ]);
    const head = ["level", "table", "size", "rows", "deletes", "filter", "first key", "last key"];
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
    details: `Row counts are versions of rows as the tables count them; --count reads everything. ${READER_NOTE}`,
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
