/**
 * Lines and whole contents of byte streams, with a bound on what one line may hold.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CommandFailure } from "./usage_error.ts";

/** Longest line that is accepted, bytes: a value of 384 MiB in base64. */
const LINE_BYTES_MAX = 512 * 1024 * 1024;
const NEWLINE = 10;
const RETURN = 13;

/** All bytes of a stream. */
export async function readAll(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

/** How lines are read. */
export interface LineOptions {
  /** Drops what follows the last line break. Default: it is a line too. */
  readonly lastNeedsEnd?: boolean;
}

/** The lines of a stream as bytes, without their ends. */
export async function* readLines(
  source: AsyncIterable<Uint8Array>,
  options: LineOptions = {},
): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of source) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      parts.push(chunk.subarray(start, end));
      yield trimReturn(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
      parts = [];
      held = 0;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    held += chunk.length - start;
    if (held > LINE_BYTES_MAX) {
      throw new CommandFailure("line-too-long", `A line is longer than ${LINE_BYTES_MAX} bytes`);
    }
    parts.push(chunk.subarray(start));
  }
  if (held > 0 && options.lastNeedsEnd !== true) yield trimReturn(Buffer.concat(parts));
}

function trimReturn(line: Uint8Array): Uint8Array {
  return line[line.length - 1] === RETURN ? line.subarray(0, line.length - 1) : line;
}
