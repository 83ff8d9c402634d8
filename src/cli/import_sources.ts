/**
 * Where imported rows come from: NDJSON, TSV, or a folder of files.
 *
 * NDJSON: `{"key": …, "value": …, "expiresAt"?: ms}` per line, bytes as strings, `{"hex"}` or `{"base64"}`; a value of
 * null or none deletes the key. TSV: key, tab, value, escaped as `scan` prints them. A folder: path to contents.
 *
 * Invariants: a refused line is named with its number, and nothing after it is taken.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { keyBytes } from "../lsm/key_range.ts";
import { fromBase64, fromHex, parseJsonBytes, parseLineBytes, textOf, utf8 } from "./bytes_text.ts";
import type { FileTree } from "./file_tree.ts";
import { readLines } from "./line_source.ts";
import { CommandFailure } from "./usage_error.ts";

/** How strings in the input stand for bytes. */
export type Encoding = "utf8" | "hex" | "base64";

/** One row to write. */
export interface ImportRow {
  readonly key: Uint8Array;
  /** Undefined deletes the key. */
  readonly value: Uint8Array | undefined;
  /** ms since 1970. */
  readonly expiresAt?: number;
}

/** How the lines of a text are read. */
export interface LineFormat {
  readonly format: "ndjson" | "tsv";
  readonly keys: Encoding;
  readonly values: Encoding;
}

const ROW_FIELDS: ReadonlySet<string> = new Set(["key", "value", "expiresAt", "seq", "createdAt"]);
const TAB = 9;

/** The rows of a text. Fails with `CommandFailure` at the first line that is none. */
export async function* rowsOfLines(source: AsyncIterable<Uint8Array>, format: LineFormat): AsyncGenerator<ImportRow> {
  let number = 0;
  for await (const line of readLines(source)) {
    number++;
    if (line.length === 0) continue;
    try {
      const row = format.format === "ndjson" ? jsonRow(line, format) : tabRow(line, format);
      keyBytes(row.key);
      yield row;
    } catch (error) {
      throw new CommandFailure("line", `Line ${number}: ${(error as Error).message}`);
    }
  }
}

function jsonRow(line: Uint8Array, format: LineFormat): ImportRow {
  const text = textOf(line);
  if (text === undefined) throw new Error("it is not UTF-8");
  const row: unknown = JSON.parse(text);
  if (typeof row !== "object" || row === null || Array.isArray(row)) throw new Error('it is not {"key":…,"value":…}');
  const stranger = Object.keys(row).find((field) => !ROW_FIELDS.has(field));
  if (stranger !== undefined) throw new Error(`a row has no field "${stranger}"`);
  const { key, value, expiresAt } = row as { key?: unknown; value?: unknown; expiresAt?: unknown };
  if (key === undefined) throw new Error('it has no "key"');
  if (expiresAt !== undefined && !Number.isSafeInteger(expiresAt)) {
    throw new Error('"expiresAt" must be whole ms since 1970');
  }
  return {
    key: jsonField(key, format.keys, "the key"),
    value: value === undefined || value === null ? undefined : jsonField(value, format.values, "the value"),
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt as number }),
  };
}

function jsonField(value: unknown, encoding: Encoding, what: string): Uint8Array {
  return typeof value === "string" ? decoded(value, encoding) : parseJsonBytes(value, what);
}

function decoded(text: string, encoding: Encoding): Uint8Array {
  return encoding === "hex" ? fromHex(text) : encoding === "base64" ? fromBase64(text) : utf8(text);
}

function tabRow(line: Uint8Array, format: LineFormat): ImportRow {
  const tab = line.indexOf(TAB);
  if (tab < 0) throw new Error("it has no tab between key and value");
  const field = (bytes: Uint8Array, encoding: Encoding) => {
    const text = textOf(bytes);
    if (text === undefined) throw new Error("it is not UTF-8");
    return encoding === "utf8" ? parseLineBytes(text) : decoded(text, encoding);
  };
  return { key: field(line.subarray(0, tab), format.keys), value: field(line.subarray(tab + 1), format.values) };
}

/** The files of a tree as rows, one in memory at a time. */
export async function* rowsOfTree(tree: Pick<FileTree, "files">, prefix: Uint8Array): AsyncGenerator<ImportRow> {
  for (const file of tree.files) {
    const name = utf8(file.name);
    const key = new Uint8Array(prefix.length + name.length);
    key.set(prefix);
    key.set(name, prefix.length);
    yield { key, value: await contentsOf(file.path) };
  }
}

/** The bytes of a file. Fails with `CommandFailure`. */
export async function contentsOf(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new CommandFailure("file", `Cannot read ${path}: ${(error as Error).message}`);
  }
}
