/**
 * `get` and `scan`: the rows of a database as they are stored now.
 *
 * @module
 */
import { resolveRange } from "../lsm/key_range.ts";
import { keyBytes } from "../lsm/key_range.ts";
import { NO_EXPIRY } from "../format/types.ts";
import type { TtlMode } from "../db/api.ts";
import { blockText, jsonBytes, lineBytes, parseBytes } from "./bytes_text.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  KEY_POSITION,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  RANGE_FLAGS,
  READ_FLAGS,
  READER_NOTE,
} from "./command.ts";
import { StoredObjects, StoredView } from "./inspect.ts";
import { mergeOperatorNamed } from "./merge_operators.ts";
import { placeOf, rangeOf } from "./places.ts";
import { entryJson } from "./rows.ts";

/** The view that a reading command works on. */
export async function viewOf(context: CommandContext): Promise<StoredView> {
  const objects = new StoredObjects(context.runtime, await placeOf(context));
  return await StoredView.read(objects, {
    mergeOperator: mergeOperatorNamed(context.args.text("merge")),
    ttl: context.args.text("ttl") as TtlMode | undefined,
  });
}

async function runGet(context: CommandContext): Promise<number> {
  const { args, out, err } = context;
  const written = args.position("key");
  const key = keyBytes(parseBytes(written));
  const row = await (await viewOf(context)).get(key);
  if (row === undefined) {
    if (args.on("json")) await out.json({ key: jsonBytes(key), value: null });
    else await err.line(`phyllite: not found: ${lineBytes(key)}`);
    return 1;
  }
  if (args.on("json")) {
    const { value, seq, createTs: createdAt, expireTs } = row;
    await out.json(
      entryJson({ key, value, seq, createdAt, ...(expireTs === NO_EXPIRY ? {} : { expiresAt: expireTs }) }),
    );
  } else if (args.on("raw")) {
    await out.bytes(row.value);
  } else {
    const text = blockText(row.value, args.on("hex"));
    await out.bytes(new TextEncoder().encode(text.endsWith("\n") ? text : `${text}\n`));
  }
  return 0;
}

/** Prints one value. */
export const getCommand: Command = {
  spec: {
    name: "get",
    summary: "Print the value of a key",
    details: `Exit code 1 when the key has no value. ${READER_NOTE}\n` +
      "A value that is not text is printed as hex:…; --raw gives its bytes as they are.",
    positions: [LOCATION_POSITION, KEY_POSITION],
    flags: [
      JSON_FLAG,
      { name: "hex", kind: "switch", about: "Print the value as hex in any case" },
      { name: "raw", kind: "switch", about: "Print the bytes of the value and nothing else" },
      ...READ_FLAGS,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite get ./data user:1", "phyllite get ./data hex:00ff --json"],
  },
  run: runGet,
};

async function runScan(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const range = resolveRange(rangeOf(context));
  const keysOnly = args.on("keys");
  const json = args.on("json");
  const hex = args.on("hex");
  const view = await viewOf(context);
  const batches = view.scan(range, { descending: args.on("reverse"), limit: args.count("limit"), keysOnly });
  for await (const batch of batches) {
    for (const entry of batch) {
      if (json) await out.json(entryJson(entry, keysOnly));
      else if (keysOnly) await out.line(lineBytes(entry.key, hex));
      else await out.line(`${lineBytes(entry.key, hex)}\t${lineBytes(entry.value, hex)}`);
    }
    // The first rows are shown at once, however long the scan is.
    await out.flush();
  }
  return 0;
}

/** Prints the rows of a range. */
export const scanCommand: Command = {
  spec: {
    name: "scan",
    summary: "Print the rows of a range, in the order of their keys",
    details: "One row per line: key, tab, value, with \\t, \\n, \\r and \\\\ escaped; what is not text is printed as " +
      `hex:…. "phyllite import --format tsv" reads these lines. Bounds and prefix are intersected. ${READER_NOTE}`,
    positions: [LOCATION_POSITION],
    flags: [
      ...RANGE_FLAGS,
      { name: "reverse", kind: "switch", about: "From the last key to the first" },
      { name: "limit", kind: "count", value: "N", about: "Stop after so many rows" },
      { name: "keys", kind: "switch", about: "Print the keys alone" },
      { name: "hex", kind: "switch", about: "Print everything as hex" },
      JSON_FLAG,
      ...READ_FLAGS,
      ...LOCATION_FLAGS,
    ],
    examples: [
      "phyllite scan ./data --prefix user: --limit 10",
      "phyllite scan ./data --gte a --lt b --reverse --json",
    ],
  },
  run: runScan,
};
