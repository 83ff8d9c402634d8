/**
 * The lines of standard input, one by one, each of bounded length.
 *
 * A line that is too long is passed over without being held, and told as such, so that the lines after it still count.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Longest line, bytes. */
export const LINE_BYTES_MAX: number = 256 * 1024 * 1024;
/** What stands for a line that is longer. */
export const TOO_LONG: unique symbol = Symbol("phyllite/TOO_LONG");

const NEWLINE = 10;

/**
 * The lines of `source` without their ends; what follows the last line end is a line too, unless it is empty.
 *
 * @param isStopped is asked before each line is handed out; true ends the lines
 */
export async function* stepLines(
  source: AsyncIterable<Uint8Array>,
  isStopped: () => boolean = () => false,
  maxBytes: number = LINE_BYTES_MAX,
): AsyncGenerator<Uint8Array | typeof TOO_LONG> {
  let parts: Uint8Array[] = [];
  let held = 0;
  const take = (): Uint8Array | typeof TOO_LONG => {
    const line = held > maxBytes ? TOO_LONG : parts.length === 1 ? parts[0]! : Buffer.concat(parts, held);
    parts = [];
    held = 0;
    return line;
  };
  const hold = (part: Uint8Array) => {
    held += part.length;
    if (held > maxBytes) parts = [];
    else parts.push(part);
  };
  for await (const chunk of source) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      hold(chunk.subarray(start, end));
      start = end + 1;
      if (isStopped()) return;
      yield take();
    }
    if (start < chunk.length) hold(chunk.subarray(start));
  }
  if (held > 0 && !isStopped()) yield take();
}
