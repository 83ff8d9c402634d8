/**
 * `put`, `delete` and `delete-range`: one durable write.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import type { KeyRange, WriteResult } from "../db/api.ts";
import { deletedRange } from "../db/deleted_range.ts";
import { keyBytes } from "../lsm/key_range.ts";
import { isGated } from "../state/range_gate.ts";
import { jsonBytes, parseBytes } from "./bytes_text.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  KEY_POSITION,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  RANGE_FLAGS,
  WRITER_NOTE,
} from "./command.ts";
import { GATE_NOTE, gateText, manifestAfter } from "./gate_note.ts";
import { readAll } from "./line_source.ts";
import { BRIEF_WRITER, rangeOf, withWriter } from "./places.ts";
import { CommandFailure, UsageError } from "./usage_error.ts";

async function runPut(context: CommandContext): Promise<number> {
  const key = keyBytes(parseBytes(context.args.position("key")));
  const value = await valueOf(context);
  const life = context.args.count("expires-in");
  const options = life === undefined ? {} : { ttl: { afterMillis: life } };
  const result = await withWriter(context, BRIEF_WRITER, (db) => db.put(key, value, options));
  return await acknowledge(context, key, result);
}

async function valueOf({ args, io }: CommandContext): Promise<Uint8Array> {
  const file = args.text("file");
  const written = args.optionalPosition("value");
  if ((file === undefined) === (written === undefined)) {
    throw new UsageError(
      file === undefined
        ? 'put needs <value>: its text, hex:…, base64:…, "-" for standard input, or --file PATH'
        : "put takes a value or --file, not both",
    );
  }
  if (file !== undefined) {
    try {
      return await readFile(file);
    } catch (error) {
      throw new CommandFailure("file", `Cannot read ${file}: ${(error as Error).message}`);
    }
  }
  return written === "-" ? await readAll(io.stdin) : parseBytes(written!);
}

/** Says that a write is durable. */
async function acknowledge({ args, out }: CommandContext, key: Uint8Array, result: WriteResult): Promise<number> {
  if (args.on("json")) await out.json({ key: jsonBytes(key), seq: result.seq, createdAt: result.createdAt });
  else await out.line(`durable, sequence number ${result.seq}`);
  return 0;
}

/** Stores one value. */
export const putCommand: Command = {
  spec: {
    name: "put",
    summary: "Store a value under a key",
    details: `Creates the database when there is none, and returns when the value is durable. ${WRITER_NOTE}`,
    positions: [LOCATION_POSITION, KEY_POSITION, {
      name: "value",
      about: 'its text, hex:00ff, base64:AP8=, or "-" for standard input',
      optional: true,
    }],
    flags: [
      { name: "file", kind: "text", value: "FILE", about: "Take the value from a file" },
      {
        name: "expires-in",
        kind: "span",
        value: "SPAN",
        about: "Have the row expire after a time such as 30s, 12h or 7d",
      },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite put ./data user:1 Ada", "phyllite put ./data logo --file logo.png"],
  },
  run: runPut,
};

async function runDelete(context: CommandContext): Promise<number> {
  const key = keyBytes(parseBytes(context.args.position("key")));
  const result = await withWriter(context, { ...BRIEF_WRITER, create: false }, (db) => db.delete(key));
  return await acknowledge(context, key, result);
}

/** Deletes one key. */
export const deleteCommand: Command = {
  spec: {
    name: "delete",
    summary: "Delete a key",
    details: `Returns when the deletion is durable, whether the key had a value or not. ${WRITER_NOTE}`,
    positions: [LOCATION_POSITION, KEY_POSITION],
    flags: [JSON_FLAG, ...LOCATION_FLAGS],
    examples: ["phyllite delete ./data user:1"],
  },
  run: runDelete,
};

async function runDeleteRange(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const range = rangeOf(context);
  if (Object.keys(range).length === 0) {
    throw new UsageError('delete-range needs --prefix, --gte, --gt, --lte or --lt; to delete every key say --gte ""');
  }
  // Refused before anything is opened.
  deletedRange(range);
  const options = { ...BRIEF_WRITER, create: false, ...(args.on("expand") ? { rangeDeletes: "expand" as const } : {}) };
  const { result, before } = await withWriter(context, options, async (db) => {
    const before = db.status.lastSeq;
    return { result: await db.deleteRange(range), before };
  });
  const { seq, createdAt } = result;
  const written = seq !== before;
  const manifest = await manifestAfter(context);
  if (args.on("json")) {
    await out.json({ range: jsonRange(range), written, seq, createdAt, rangeDeletes: isGated(manifest) });
    return 0;
  }
  await out.line(written ? `durable, sequence number ${seq}` : "nothing was there");
  const gate = gateText(manifest);
  if (gate !== undefined) await out.line(gate);
  return 0;
}

function jsonRange(range: KeyRange): Record<string, unknown> {
  return Object.fromEntries(Object.entries(range).map(([name, bytes]) => [name, jsonBytes(bytes as Uint8Array)]));
}

/** Deletes the keys of a range. */
export const deleteRangeCommand: Command = {
  spec: {
    name: "delete-range",
    summary: "Delete every key of a range",
    details:
      "Returns when the deletion is durable. One row is written, whatever the range holds, and SlateDB refuses " +
      "the database from then on; --expand deletes the keys one by one instead, up to 100,000 of them, all or none. " +
      "With --json, written is false where --expand found nothing, and rangeDeletes tells whether SlateDB refuses " +
      `the database now. Bounds and prefix are intersected; at least one is needed. ${WRITER_NOTE}\n${GATE_NOTE}`,
    positions: [LOCATION_POSITION],
    flags: [
      ...RANGE_FLAGS,
      {
        name: "expand",
        kind: "switch",
        about: "Delete key by key, so that SlateDB can open the database afterwards if it could before",
      },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: [
      "phyllite delete-range ./data --prefix session:",
      "phyllite delete-range ./data --gte a --lt b --expand",
    ],
  },
  run: runDeleteRange,
};
