/**
 * `sst`: the tables of a database, or everything about one of them, checked row by row.
 *
 * @module
 */
import { DataError, decoded } from "../errors.ts";
import { BlockCursor } from "../format/block_cursor.ts";
import { decodeBlock } from "../format/block.ts";
import { COMPACTED_DIR, folderPath, parseTableName } from "../format/paths.ts";
import { isUlid } from "../format/ulid.ts";
import { blockEnd, decodeFooter, readSst, type SstContents } from "../format/sst_footer.ts";
import { checkRangeInfo, RANGE_SECTION } from "../format/range_section.ts";
import { COMPRESSION_NAMES, type Manifest, RANGE_FORMAT } from "../format/types.ts";
import { listAll } from "../store/list_all.ts";
import { jsonBytes, lineBytes, shorten } from "./bytes_text.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  READER_NOTE,
} from "./command.ts";
import { StoredObjects } from "./inspect.ts";
import { asked } from "./missing_object.ts";
import { placeOf } from "./places.ts";
import { rangeJson, rangeLine, rangeText, storedRowJson, storedRowLine } from "./rows.ts";
import { columns, plural, sizeText } from "./text_layout.ts";
import { UsageError } from "./usage_error.ts";

/** A table file and where it stands. */
interface TableFile {
  readonly id: string;
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly levels: readonly string[];
  readonly infoOffset: number;
  readonly contents: SstContents;
}

/** Where the manifest names a table: "L0", "run 3", or nowhere. */
function levelsOf(manifest: Manifest, id: string): string[] {
  const levels = manifest.l0.some((view) => view.sstId === id) ? ["L0"] : [];
  for (const run of manifest.compacted) if (run.ssts.some((view) => view.sstId === id)) levels.push(`run ${run.id}`);
  return levels;
}

async function readTable(objects: StoredObjects, manifest: Manifest, id: string): Promise<TableFile> {
  const path = objects.tablePath(manifest, id);
  const bytes = await objects.run(objects.store.get(path));
  const { infoOffset } = decoded(path, 0, () => decodeFooter(bytes, bytes.length));
  const contents = decoded(path, 0, () => readSst(bytes));
  checkNamed(manifest, id, path, contents);
  return { id, path, bytes, levels: levelsOf(manifest, id), infoOffset, contents };
}

/** Refuses range tombstones that the manifest, where it names the table, does not know or cannot have. */
function checkNamed(manifest: Manifest, id: string, path: string, { info, ranges }: SstContents): void {
  const views = [...manifest.l0, ...manifest.compacted.flatMap((run) => run.ssts)].filter((view) => view.sstId === id);
  const newest = ranges.reduce((max, { seq }) => Math.max(max, seq), 0);
  for (const { info: named } of views) {
    if (named.rangeDeletes !== undefined) {
      const { rangeDeletes } = named;
      decoded(path, rangeDeletes.offset, () => checkRangeInfo(rangeDeletes, ranges));
    }
    const isKnown = (named.rangeDeletes?.offset ?? 0) === (info.rangeDeletes?.offset ?? 0);
    if (isKnown && newest <= manifest.lastL0Seq) continue;
    throw new DataError({
      object: path,
      section: RANGE_SECTION,
      offset: info.rangeDeletes?.offset ?? 0,
      reason: "malformed",
      detail: isKnown
        ? `a range tombstone has number ${newest}, the manifest's tables end at ${manifest.lastL0Seq}`
        : "the manifest says otherwise about the table's range tombstones",
    });
  }
}

/** Everything about a table in JSON. */
function tableJson(table: TableFile): Record<string, unknown> {
  const { info, version, index, filter, stats, rows, ranges } = table.contents;
  const { rangeDeletes: section, ...rest } = info;
  return {
    id: table.id,
    object: table.path,
    bytes: table.bytes.length,
    levels: table.levels,
    formatVersion: version,
    rows,
    rangeDeletes: ranges.map(rangeJson),
    info: {
      ...rest,
      firstEntry: info.firstEntry === undefined ? null : jsonBytes(info.firstEntry),
      lastEntry: info.lastEntry === undefined ? null : jsonBytes(info.lastEntry),
      compression: COMPRESSION_NAMES[info.compression],
      infoOffset: table.infoOffset,
      ...(section === undefined ? {} : {
        rangeDeletes: { ...section, end: section.end === undefined ? null : jsonBytes(section.end) },
      }),
    },
    index: index.offsets.map((offset, i) => ({
      offset,
      bytes: blockEnd(index, info, i) - offset,
      firstKey: jsonBytes(index.firstKeys[i]!),
    })),
    filter: filter === undefined ? null : { bits: filter.bits.length * 8, probes: filter.probes },
    stats: stats ?? null,
  };
}

function tableLines(table: TableFile): string[] {
  const { info, version, index, filter, stats, rows, ranges } = table.contents;
  const section = info.rangeDeletes;
  const key = (bytes: Uint8Array | undefined) => bytes === undefined ? "-" : lineBytes(bytes);
  const facts: string[][] = [
    ["table", table.id],
    ["object", table.path],
    ["level", table.levels.join(", ") || "none: the newest manifest does not name it"],
    ["size", `${sizeText(table.bytes.length)} (${table.bytes.length} bytes)`],
    ["rows", String(rows)],
    ["first key", key(info.firstEntry)],
    ["last key", key(info.lastEntry)],
    [
      "format",
      `table version ${version === RANGE_FORMAT ? "0x8001" : version}, ${COMPRESSION_NAMES[info.compression]}`,
    ],
    ["footer", `info at ${table.infoOffset}, version ${version}`],
    ["index", `${plural(index.offsets.length, "block")}, at ${info.indexOffset}, ${info.indexLen} bytes`],
    [
      "filter",
      filter === undefined
        ? "none"
        : `${filter.bits.length * 8} bits, ${filter.probes} probes, at ${info.filterOffset}`,
    ],
    [
      "stats",
      stats === undefined ? "none" : `${stats.numPuts} puts, ${stats.numDeletes} deletes, ${stats.numMerges} merges, ` +
        `${stats.rawKeySize} key bytes, ${stats.rawValueSize} value bytes`,
    ],
    ...(section === undefined ? [] : [
      ["range tombstones", `${plural(ranges.length, "fragment")}, at ${section.offset}, ${section.length} bytes`],
    ]),
    ["check", "every block, row, key and count agrees"],
  ];
  const blocks = index.offsets.map((offset, i) => [
    String(i),
    String(offset),
    sizeText(blockEnd(index, info, i) - offset),
    shorten(lineBytes(index.firstKeys[i]!)),
  ]);
  return [
    ...columns(facts.map(([name, value]) => [`${name}:`, value!])),
    ...(blocks.length === 0 ? [] : ["", ...columns([["block", "offset", "size", "first key"], ...blocks])]),
    ...(section === undefined ? [] : [
      "",
      ...columns([
        ["deletes below", "the keys"],
        ...ranges.map(({ start, end, seq }) => [String(seq), rangeText(start, end)]),
      ]),
    ]),
  ];
}

async function showRows({ args, out }: CommandContext, table: TableFile): Promise<void> {
  const { info, version, index } = table.contents;
  const cursor = new BlockCursor();
  for (const tombstone of table.contents.ranges) {
    if (args.on("json")) await out.json(rangeJson(tombstone));
    else await out.line(rangeLine(tombstone));
  }
  for (let i = 0; i < index.offsets.length; i++) {
    const bytes = table.bytes.subarray(index.offsets[i]!, blockEnd(index, info, i));
    cursor.reset(
      decoded(table.path, index.offsets[i]!, () => decodeBlock(bytes, info.compression, version, `block ${i}`)),
    );
    for (let more = cursor.first(); more; more = cursor.next()) {
      if (args.on("json")) await out.json(storedRowJson(cursor));
      else await out.line(storedRowLine(cursor));
    }
  }
}

async function listTables(context: CommandContext, objects: StoredObjects): Promise<number> {
  const { args, out } = context;
  const { manifest } = await objects.newest();
  const ids = new Set([...manifest.l0, ...manifest.compacted.flatMap((run) => run.ssts)].map((view) => view.sstId));
  await objects.run(
    listAll(objects.store, folderPath(objects.root, COMPACTED_DIR), undefined, (object) => {
      const id = parseTableName(object.path);
      if (id !== undefined) ids.add(id);
    }),
  );
  const lines: string[][] = [[
    "table",
    "level",
    "size",
    "rows",
    "ranges",
    "blocks",
    "codec",
    "filter",
    "first key",
    "last key",
  ]];
  let failures = 0;
  for (const id of ids) {
    try {
      const table = await readTable(objects, manifest, id);
      if (args.on("json")) await out.json(tableJson(table));
      else if (args.on("rows")) await showRows(context, table);
      else lines.push(listLine(table));
    } catch (error) {
      failures++;
      await context.err.line(`phyllite: ${(error as Error).message}`);
    }
  }
  if (!args.on("json") && !args.on("rows")) { for (const line of columns(lines)) await out.line(line); }
  return failures === 0 ? 0 : 1;
}

function listLine(table: TableFile): string[] {
  const { info, index, filter, rows, ranges } = table.contents;
  return [
    table.id,
    table.levels.join(", ") || "none",
    sizeText(table.bytes.length),
    String(rows),
    ranges.length === 0 ? "-" : String(ranges.length),
    String(index.offsets.length),
    COMPRESSION_NAMES[info.compression],
    filter === undefined ? "no" : "yes",
    info.firstEntry === undefined ? "-" : shorten(lineBytes(info.firstEntry), 24),
    info.lastEntry === undefined ? "-" : shorten(lineBytes(info.lastEntry), 24),
  ];
}

async function runSst(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const id = args.optionalPosition("id");
  if (id !== undefined && !isUlid(id)) throw new UsageError(`"${id}" is no table id: it has 26 letters and digits`);
  const objects = new StoredObjects(context.runtime, await placeOf(context));
  if (id === undefined) return await listTables(context, objects);
  const { manifest } = await objects.newest();
  const read = () => readTable(objects, manifest, id);
  // A table that the manifest names and that is not there is damage, not a slip of the keyboard.
  const table = levelsOf(manifest, id).length > 0 ? await read() : await asked(
    objects.tablePath(manifest, id),
    `table ${id}`,
    `phyllite sst ${args.position("location")}`,
    read,
  );
  if (args.on("rows")) await showRows(context, table);
  else if (args.on("json")) await out.json(tableJson(table));
  else for (const line of tableLines(table)) await out.line(line);
  return 0;
}

/** Shows tables. */
export const sstCommand: Command = {
  spec: {
    name: "sst",
    summary: "List the tables, or print one: info, footer, index, filter, stats, rows",
    details: `Every table is read whole and checked against itself; damage gives exit code 1. ${READER_NOTE}`,
    positions: [LOCATION_POSITION, { name: "id", about: "id of one table; without it all tables", optional: true }],
    flags: [
      { name: "rows", kind: "switch", about: "Print range tombstones, then rows: sequence number, kind, key, value" },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite sst ./data", "phyllite sst ./data 01M7YESYR43WB7YFK86F6GC92G --rows"],
  },
  run: runSst,
};
