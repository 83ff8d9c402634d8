/**
 * What a command is, what it is given, and the flags that several of them share.
 *
 * @module
 */
import type { Effect } from "effect";
import type { Arguments, CommandSpec, FlagSpec } from "./arguments.ts";
import type { CliIo, Printer } from "./output.ts";
import type { Runtime } from "../db/runtime.ts";

/** What a command works with. */
export interface CommandContext {
  readonly args: Arguments;
  readonly io: CliIo;
  readonly out: Printer;
  readonly err: Printer;
  /** Runs effects and tells the time. */
  readonly runtime: Runtime;
  /** What to end when the command has: connections of the places that it named. */
  readonly releases: Array<Effect.Effect<void>>;
}

/** A command: what it takes and what it does. */
export interface Command {
  readonly spec: CommandSpec;
  /** Answers the exit code. */
  readonly run: (context: CommandContext) => Promise<number>;
}

/** Output as JSON. */
export const JSON_FLAG: FlagSpec = { name: "json", kind: "switch", about: "Print JSON, one value per line" };

/** Flag of everything that touches a database. */
export const PATH_FLAG: FlagSpec = {
  name: "path",
  kind: "text",
  value: "PATH",
  about: "Path of the database inside the store, where the location holds several databases",
};

/** Flags of everything that touches a database and its log. */
export const LOCATION_FLAGS: readonly FlagSpec[] = [
  PATH_FLAG,
  {
    name: "wal-location",
    kind: "text",
    value: "LOCATION",
    about: "The store of the write-ahead log, for a database that keeps it apart",
  },
];

/** Flag of everything that folds merge operands. */
export const MERGE_FLAG: FlagSpec = {
  name: "merge",
  kind: "choice",
  choices: ["concat", "u64add"],
  about: "How merge operands are folded: as texts one after another, or as 8-byte little-endian sums",
};

/** Flags of everything that reads values. */
export const READ_FLAGS: readonly FlagSpec[] = [
  MERGE_FLAG,
  {
    name: "ttl",
    kind: "choice",
    choices: ["strict", "slatedb"],
    about: "Hide expired rows (strict, the default), or show them until a rewrite removes them, as SlateDB does",
  },
];

/** Flags of everything that reads a range. */
export const RANGE_FLAGS: readonly FlagSpec[] = [
  { name: "prefix", kind: "bytes", value: "KEY", about: "Keys that start with these bytes" },
  { name: "gte", kind: "bytes", value: "KEY", about: "Keys at or after this one" },
  { name: "gt", kind: "bytes", value: "KEY", about: "Keys after this one" },
  { name: "lte", kind: "bytes", value: "KEY", about: "Keys at or before this one" },
  { name: "lt", kind: "bytes", value: "KEY", about: "Keys before this one" },
];

/** Where the database is. */
export const LOCATION_POSITION = {
  name: "location",
  about: 'a folder, a file: URL, "s3://bucket/prefix?endpoint=…", or "memory:"',
} as const;

/** How keys are written. */
export const KEY_POSITION = { name: "key", about: "its text, hex:00ff, or base64:AP8=" } as const;

/** Said in the help of commands that write. */
export const WRITER_NOTE =
  "Opens the database for writing: a process that has it open for writing is fenced off and has to open it again.";

/** Said in the help of commands that only read. */
export const READER_NOTE = "Reads what is stored and writes nothing, so it may run beside a live writer.";
