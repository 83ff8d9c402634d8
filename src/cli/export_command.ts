/**
 * `export`: the rows of a range as NDJSON, or as files below a folder.
 *
 * @module
 */
import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Entry } from "../db/api.ts";
import { resolveRange } from "../lsm/key_range.ts";
import { jsonBytes, lineBytes, textOf, utf8 } from "./bytes_text.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  RANGE_FLAGS,
  READ_FLAGS,
  READER_NOTE,
} from "./command.ts";
import { rangeOf } from "./places.ts";
import { Progress } from "./progress.ts";
import { viewOf } from "./read_commands.ts";
import { plural, sizeText } from "./text_layout.ts";
import { CommandFailure, UsageError } from "./usage_error.ts";

/** Longest part of a path that file systems take, bytes. */
const NAME_BYTES_MAX = 255;

/**
 * The path below the target folder that a key stands for, or why it can not be one. Nothing that would leave the
 * folder, or mean another file on some system, is let through.
 */
export function pathOfKey(key: Uint8Array): { readonly path: string } | { readonly problem: string } {
  const text = textOf(key);
  if (text === undefined) return { problem: "it is not UTF-8" };
  if (text.includes("\0")) return { problem: "it holds a NUL character" };
  if (text.includes("\\")) return { problem: "it holds a backslash" };
  if (/^[A-Za-z]:/.test(text)) return { problem: "it starts with a drive letter" };
  const parts = text.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    return { problem: 'it has an empty part, "." or ".."' };
  }
  if (parts.some((part) => new TextEncoder().encode(part).length > NAME_BYTES_MAX)) {
    return { problem: `a part of it is longer than ${NAME_BYTES_MAX} bytes` };
  }
  return { path: parts.join("/") };
}

/** Makes sure that nothing is in the way: the folder is new or empty, so no link in it can lead out. */
async function emptyFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    if ((await readdir(folder)).length === 0) return;
  } catch (error) {
    throw new CommandFailure("folder", `Cannot write into ${folder}: ${(error as Error).message}`);
  }
  throw new CommandFailure("folder", `Cannot export into ${folder}: it is not empty`);
}

async function writeRow(folder: string, entry: Entry): Promise<void> {
  const place = pathOfKey(entry.key);
  if ("problem" in place) {
    throw new CommandFailure("key", `Cannot make a file of the key ${lineBytes(entry.key)}: ${place.problem}`);
  }
  const path = join(folder, place.path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, entry.value, { flag: "wx" });
  } catch (error) {
    const other = await keyInTheWay(folder, place.path);
    if (other === undefined) throw new CommandFailure("file", `Cannot write ${path}: ${(error as Error).message}`);
    throw new CommandFailure(
      "key",
      `Cannot make files of both keys ${lineBytes(utf8(other))} and ${lineBytes(entry.key)}: the first would have to ` +
        "be a file and a folder",
    );
  }
}

/** The key whose file stands where the folder of `path` should be. (It is the shorter one, so it came first.) */
async function keyInTheWay(folder: string, path: string): Promise<string | undefined> {
  for (let end = path.indexOf("/"); end >= 0; end = path.indexOf("/", end + 1)) {
    const above = path.slice(0, end);
    const isFile = await stat(join(folder, above)).then((found) => found.isFile(), () => false);
    if (isFile) return above;
  }
  return undefined;
}

/** Writes a row as a file; a failure says that the folder holds what came before. */
async function exportRow(folder: string, entry: Entry, rowsBefore: number): Promise<void> {
  try {
    await writeRow(folder, entry);
  } catch (error) {
    if (!(error instanceof CommandFailure) || rowsBefore === 0) throw error;
    const holds = `${folder} holds ${plural(rowsBefore, "file")} of the keys before it`;
    throw new CommandFailure(error.reason, `${error.message}. ${holds}`);
  }
}

async function runExport(context: CommandContext): Promise<number> {
  const { args, out, err, runtime } = context;
  const folder = args.text("to");
  const binary = args.text("binary") === "base64" ? "base64" : "hex";
  const range = resolveRange(rangeOf(context));
  if (folder !== undefined && args.text("binary") !== undefined) {
    throw new UsageError("--binary is about NDJSON, and --to writes files");
  }
  const view = await viewOf(context);
  if (folder !== undefined) await emptyFolder(folder);
  const progress = new Progress(err, runtime.clock, { label: "export", unit: "rows", total: undefined });
  let rows = 0;
  let bytes = 0;
  for await (const batch of view.scan(range, { limit: args.count("limit") })) {
    let batchBytes = 0;
    for (const [i, entry] of batch.entries()) {
      if (folder === undefined) {
        const expiry = entry.expiresAt === undefined ? {} : { expiresAt: entry.expiresAt };
        await out.json({ key: jsonBytes(entry.key, binary), value: jsonBytes(entry.value, binary), ...expiry });
      } else await exportRow(folder, entry, rows + i);
      batchBytes += entry.key.length + entry.value.length;
    }
    rows += batch.length;
    bytes += batchBytes;
    if (folder !== undefined || !out.isTerminal) await progress.add(batch.length, batchBytes);
  }
  await progress.done();
  if (folder === undefined) return 0;
  if (args.on("json")) await out.json({ rows, bytes, folder });
  else await out.line(`${plural(rows, "file")}, ${sizeText(bytes)} written below ${folder}`);
  return 0;
}

/** Writes rows out. */
export const exportCommand: Command = {
  spec: {
    name: "export",
    summary: "Print rows as NDJSON, or write them as files below a folder",
    details: '{"key":…,"value":…} per line; bytes that are not text as {"hex":"…"}. "import" reads these lines. With ' +
      "--to every key becomes a path below a new or empty folder; a key that can not be a path is refused. " +
      READER_NOTE,
    positions: [LOCATION_POSITION],
    flags: [
      { name: "to", kind: "text", value: "FOLDER", about: "Write files below this folder instead of NDJSON" },
      ...RANGE_FLAGS,
      { name: "limit", kind: "count", value: "N", about: "Stop after so many rows" },
      { name: "binary", kind: "choice", choices: ["hex", "base64"], about: "How bytes that are not text are written" },
      JSON_FLAG,
      ...READ_FLAGS,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite export ./data > rows.ndjson", "phyllite export ./data --prefix photos/ --to ./out"],
  },
  run: runExport,
};
