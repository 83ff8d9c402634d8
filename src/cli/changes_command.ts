/**
 * `changes`: the rows of the write-ahead log in the order of writing, to the end or for as long as the command runs.
 *
 * @module
 */
import type { Change } from "../db/admin_api.ts";
import { changes } from "../db/changes.ts";
import { DataError } from "../errors.ts";
import { NO_TICK } from "../format/types.ts";
import { jsonBytes, lineBytes } from "./bytes_text.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  READER_NOTE,
} from "./command.ts";
import { isMissing, missingDatabase, placeOf } from "./places.ts";
import { type JsonRange, type JsonRow, rangeJson, rangeLine } from "./rows.ts";
import { timeText } from "./text_layout.ts";

function changeJson(change: Change): (JsonRow | JsonRange) & { isLast: boolean } {
  const { seq, isLast, createdAt } = change;
  if (change.kind === "deleteRange") {
    const { gte, lt } = change.range;
    return { ...rangeJson({ start: gte, end: lt, seq, createTs: createdAt }), isLast };
  }
  const { kind, key, value, expiresAt } = change;
  return {
    key: jsonBytes(key),
    kind,
    ...(kind === "delete" ? {} : { value: jsonBytes(value) }),
    seq,
    isLast,
    ...(createdAt === NO_TICK ? {} : { createdAt }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}

function changeLine(change: Change): string {
  const { kind, seq } = change;
  if (kind === "deleteRange") return rangeLine({ start: change.range.gte, end: change.range.lt, seq });
  const { key, value, expiresAt } = change;
  const expiry = expiresAt === undefined ? [] : [`expires ${timeText(expiresAt) ?? expiresAt}`];
  return [seq, kind, lineBytes(key), kind === "delete" ? "" : lineBytes(value), ...expiry].join("\t").trimEnd();
}

async function runChanges(context: CommandContext): Promise<number> {
  const { args, out, err } = context;
  const place = await placeOf(context);
  const follow = args.on("follow");
  const from = args.count("from");
  const print = async (fromSeq: number | undefined) => {
    const rows = changes({ store: place.store, path: place.root }, {
      follow,
      ...(fromSeq === undefined ? {} : { fromSeq }),
      ...(place.walStore === undefined ? {} : { wal: { store: place.walStore } }),
    });
    for await (const change of rows) {
      await (args.on("json") ? out.json(changeJson(change)) : out.line(changeLine(change)));
      if (follow) await out.flush();
    }
  };
  try {
    await print(from ?? (follow ? undefined : 1));
  } catch (error) {
    if (isMissing(error)) throw missingDatabase(place);
    // Nobody asked for the beginning: what is still there is meant.
    const oldest = error instanceof DataError && error.reason === "gone" ? error.oldestSeq : undefined;
    if (follow || from !== undefined || oldest === undefined || oldest === 1) throw error;
    const what = oldest === 2 ? "row 1 is" : `rows 1 to ${oldest - 1} are`;
    await err.line(
      `phyllite: ${what} not printed: the log does not hold them (collected, or written without it). ` +
        `From ${oldest} on it is complete; "phyllite scan" shows the newest values of all`,
    );
    await print(oldest);
  }
  return 0;
}

/** Prints the change feed. */
export const changesCommand: Command = {
  spec: {
    name: "changes",
    summary: "Print what was written, row by row, as the log has it; follow it live",
    details: "One row per line: sequence number, put, delete or merge, key, value; or deleteRange and the range. " +
      "Without --from: everything that the log still has up to its end without a gap, or with --follow what is " +
      "written from now on. In JSON, isLast says whether a row is the last of its number: resume with --from that " +
      "number + 1 then, else with the number. Rows that became tables stay in the log until a " +
      `collection. ${READER_NOTE}`,
    positions: [LOCATION_POSITION],
    flags: [
      {
        name: "from",
        kind: "count",
        value: "SEQ",
        about: "Start at this sequence number; fails when it was collected",
      },
      { name: "follow", kind: "switch", about: "Wait for more, until interrupted" },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: ["phyllite changes ./data --follow", "phyllite changes ./data --from 1000 --json"],
  },
  run: runChanges,
};
