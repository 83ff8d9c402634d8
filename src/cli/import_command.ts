/**
 * `import`: rows from NDJSON, TSV or a folder of files into a database.
 *
 * @module
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { CostReport, Db } from "../db/api.ts";
import { COMPRESSION_NAMES, type CompressionName } from "../format/types.ts";
import { BatchWriter } from "./batch_writer.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  WRITER_NOTE,
} from "./command.ts";
import { listTree } from "./file_tree.ts";
import { type Encoding, type ImportRow, rowsOfLines, rowsOfTree } from "./import_sources.ts";
import { withWriter } from "./places.ts";
import { Progress } from "./progress.ts";
import { plural, secondsText, sizeText } from "./text_layout.ts";
import { CommandFailure, UsageError } from "./usage_error.ts";

/** Rows to write and what is known about them. */
interface Source {
  readonly rows: AsyncIterable<ImportRow>;
  readonly total: number | undefined;
  /** Links and special files that are left out. */
  readonly skipped: number;
}

async function sourceOf(context: CommandContext): Promise<Source> {
  const { args, io } = context;
  const path = args.position("source");
  const prefix = args.bytes("prefix") ?? new Uint8Array(0);
  const isFolder = path !== "-" && await kindOfSource(path) === "folder";
  const format = args.text("format") ?? (isFolder ? "files" : path.endsWith(".tsv") ? "tsv" : "ndjson");
  if (isFolder !== (format === "files")) {
    throw new UsageError(isFolder ? `${path} is a folder: use --format files` : "--format files needs a folder");
  }
  if (format === "files") {
    const tree = await listTree(path);
    return { rows: rowsOfTree(tree, prefix), total: tree.files.length, skipped: tree.skipped };
  }
  const bytes: AsyncIterable<Uint8Array> = path === "-" ? io.stdin : createReadStream(path, { highWaterMark: 1 << 18 });
  const rows = rowsOfLines(bytes, {
    format: format as "ndjson" | "tsv",
    keys: (args.text("key-encoding") ?? "utf8") as Encoding,
    values: (args.text("value-encoding") ?? "utf8") as Encoding,
  });
  return { rows: prefix.length === 0 ? rows : prefixed(rows, prefix), total: undefined, skipped: 0 };
}

async function* prefixed(rows: AsyncIterable<ImportRow>, prefix: Uint8Array): AsyncGenerator<ImportRow> {
  for await (const row of rows) {
    const key = new Uint8Array(prefix.length + row.key.length);
    key.set(prefix);
    key.set(row.key, prefix.length);
    yield { ...row, key };
  }
}

async function kindOfSource(path: string): Promise<"folder" | "file"> {
  try {
    return (await stat(path)).isDirectory() ? "folder" : "file";
  } catch (error) {
    throw new CommandFailure("file", `Cannot read ${path}: ${(error as Error).message}`);
  }
}

/** What was imported, and the line that ended it early. */
interface Imported {
  readonly rows: number;
  readonly bytes: number;
  readonly cost: CostReport;
  readonly failure: unknown;
}

/** Writes all rows. What was read before a bad line is stored all the same. */
async function writeRows({ err, runtime }: CommandContext, source: Source, db: Db): Promise<Imported> {
  const progress = new Progress(err, runtime.clock, { label: "import", unit: "rows", total: source.total });
  let rows = 0;
  let bytes = 0;
  let failure: unknown;
  const writer = new BatchWriter(db, async (batch) => {
    rows += batch.keys.length;
    bytes += batch.bytes;
    await progress.add(batch.keys.length, batch.bytes);
  });
  try {
    for await (const row of source.rows) await writer.add(row);
  } catch (error) {
    failure = error;
  }
  try {
    await writer.finish();
  } catch (error) {
    failure ??= error;
  }
  await progress.done();
  return { rows, bytes, cost: db.cost(), failure };
}

async function runImport(context: CommandContext): Promise<number> {
  const { args, out, err, runtime } = context;
  const source = await sourceOf(context);
  const compression = args.text("compression") as CompressionName | undefined;
  const startedAt = runtime.now();
  const options = compression === undefined ? {} : { compression };
  const { rows, bytes, cost, failure } = await withWriter(context, options, (db) => writeRows(context, source, db));
  const millis = runtime.now() - startedAt;
  if (args.on("json")) {
    await out.json({ rows, bytes, skipped: source.skipped, millis, requests: cost.requests, dollars: cost.dollars });
  } else if (failure !== undefined) {
    await err.line(
      `phyllite: import ended early: ${plural(rows, "row")}, ${sizeText(bytes)} durable before the failure`,
    );
  } else {
    const links = source.skipped === 0 ? "" : `, ${plural(source.skipped, "link")} left out`;
    await out.line(`${plural(rows, "row")}, ${sizeText(bytes)} durable in ${secondsText(millis)}${links}`);
  }
  if (failure !== undefined) throw failure;
  return 0;
}

const ENCODINGS: readonly string[] = ["utf8", "hex", "base64"];

/** Writes many rows. */
export const importCommand: Command = {
  spec: {
    name: "import",
    summary: "Write rows from NDJSON, TSV or a folder of files",
    details: 'NDJSON: {"key":"a","value":"text"} per line; bytes also as {"hex":"00ff"} or {"base64":"AP8="}; ' +
      'a missing or null value deletes the key; "expiresAt" in ms since 1970 is kept.\n' +
      "TSV: key, tab, value, escaped as scan prints them. A folder: the path of each file becomes the key, its bytes " +
      "the value; links are left out.\n" +
      `Rows before a bad line are stored. ${WRITER_NOTE}`,
    positions: [LOCATION_POSITION, { name: "source", about: 'a file, a folder, or "-" for standard input' }],
    flags: [
      {
        name: "format",
        kind: "choice",
        choices: ["ndjson", "tsv", "files"],
        about: "Default: files for a folder, tsv for *.tsv, else ndjson",
      },
      { name: "key-encoding", kind: "choice", choices: ENCODINGS, about: "How strings stand for keys (utf8)" },
      { name: "value-encoding", kind: "choice", choices: ENCODINGS, about: "How strings stand for values (utf8)" },
      { name: "prefix", kind: "bytes", value: "KEY", about: "Put these bytes before every key" },
      { name: "compression", kind: "choice", choices: COMPRESSION_NAMES, about: "Codec of the tables (none)" },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite import ./data rows.ndjson", "phyllite import ./data ./photos --prefix photos/"],
  },
  run: runImport,
};
