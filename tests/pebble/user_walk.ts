/**
 * The operations of a user iterator of the files on the engine's two-way cursor.
 *
 * @module
 */
import type { Entry } from "../../src/db/api.ts";
import { bytesOf, textOf } from "./pebble_rows.ts";

/** Half-open bounds as text; undefined = none. */
export interface WalkBounds {
  readonly lower: string | undefined;
  readonly upper: string | undefined;
}

/** What the operations need of a cursor; undefined where it stands on no row. */
export interface TwoWayCursor {
  first(): Promise<Entry | undefined>;
  last(): Promise<Entry | undefined>;
  next(): Promise<Entry | undefined>;
  prev(): Promise<Entry | undefined>;
  seekGE(key: Uint8Array): Promise<Entry | undefined>;
  seekLT(key: Uint8Array): Promise<Entry | undefined>;
  close?(): Promise<void>;
}

/** Runs operations and answers a line for each; `set-bounds` makes a new cursor. */
export async function runOperations(
  operations: ReadonlyArray<string>,
  bounds: WalkBounds,
  open: (bounds: WalkBounds) => TwoWayCursor | Promise<TwoWayCursor>,
  show: (entry: Entry) => string,
): Promise<string> {
  const lines: string[] = [];
  let cursor = await open(bounds);
  for (const operation of operations) {
    const [name, ...words] = operation.split(" ");
    if (name === "set-bounds") {
      await cursor.close?.();
      cursor = await open(boundsOf(words));
      lines.push(".");
      continue;
    }
    const entry = await move(cursor, name!, words[0]);
    lines.push(entry === undefined ? "." : show(entry));
  }
  await cursor.close?.();
  return lines.join("\n");
}

function move(cursor: TwoWayCursor, name: string, key: string | undefined): Promise<Entry | undefined> {
  switch (name) {
    case "first":
      return cursor.first();
    case "last":
      return cursor.last();
    case "next":
      return cursor.next();
    case "prev":
      return cursor.prev();
    case "seek-ge":
      return cursor.seekGE(bytesOf(key!));
    case "seek-lt":
      return cursor.seekLT(bytesOf(key!));
    default:
      throw new Error(`no operation of an iterator: ${name}`);
  }
}

/** Bounds of `lower=` and `upper=` words. */
export function boundsOf(words: ReadonlyArray<string>): WalkBounds {
  const of = (name: string) => words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  return { lower: of("lower"), upper: of("upper") };
}

/** `key: (value, .)`. */
export function showPair({ key, value }: Entry): string {
  return `${textOf(key)}: (${textOf(value)}, .)`;
}

/** `key:value`. */
export function showBrief({ key, value }: Entry): string {
  return `${textOf(key)}:${textOf(value)}`;
}
