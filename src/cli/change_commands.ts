/**
 * `put` and `delete`: one durable write.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import type { WriteResult } from "../db/api.ts";
import { keyBytes } from "../lsm/key_range.ts";
import { jsonBytes, parseBytes } from "./bytes_text.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  KEY_POSITION,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  WRITER_NOTE,
} from "./command.ts";
import { readAll } from "./line_source.ts";
import { BRIEF_WRITER, withWriter } from "./places.ts";
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
