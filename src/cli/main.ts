/**
 * The command line: `phyllite <command> <location> …`.
 *
 * ```text
 * get put delete scan          one database, key by key
 * import export                NDJSON, TSV, folders of files
 * stats manifest sst wal       what is stored, object by object, without opening it
 * estimate                     about how much a range holds
 * cost                         what it costs, or what a workload would
 * changes                      what was written, in order, live if wanted
 * compact compactor            tables merged, once or as they come, with or without a writer
 * gc                           deletes what nothing reaches any more
 * checkpoint clone             states that are kept, and databases that begin with one
 * exec                         scripts, step by step, from standard input
 * doctor                       whether a store is fit for a database
 * demo                         the whole engine on real files, with a crash in the middle
 * ```
 *
 * Run this module, or call {@linkcode main} with arguments and streams of your own. It uses `node:` modules only and
 * works on Deno, Bun and Node.
 *
 * @module
 */
import { Context, type Effect } from "effect";
import process from "node:process";
import { asDbError } from "../db/failures.ts";
import { Runtime } from "../db/runtime.ts";
import { Internal } from "../errors.ts";
import { nearest, parseArguments } from "./arguments.ts";
import { deleteCommand, deleteRangeCommand, putCommand } from "./change_commands.ts";
import { changesCommand } from "./changes_command.ts";
import { checkpointCommand } from "./checkpoint_command.ts";
import { cloneCommand } from "./clone_command.ts";
import type { Command } from "./command.ts";
import { compactCommand } from "./compact_command.ts";
import { compactorCommand } from "./compactor_command.ts";
import { costCommand } from "./cost_command.ts";
import { demoCommand } from "./demo/demo_command.ts";
import { loaderCommand } from "./demo/loader_command.ts";
import { doctorCommand } from "./doctor_command.ts";
import { execCommand } from "./exec_command.ts";
import { estimateCommand } from "./estimate_command.ts";
import { exportCommand } from "./export_command.ts";
import { gcCommand } from "./gc_command.ts";
import { commandHelp, overview } from "./help.ts";
import { importCommand } from "./import_command.ts";
import { manifestCommand } from "./manifest_command.ts";
import { type CliIo, Printer } from "./output.ts";
import { processIo } from "./process_io.ts";
import { getCommand, scanCommand } from "./read_commands.ts";
import { sstCommand } from "./sst_command.ts";
import { statsCommand } from "./stats_command.ts";
import { CommandFailure, OutputClosed, UsageError } from "./usage_error.ts";
import { VERSION } from "./version.ts";
import { walCommand } from "./wal_command.ts";

export type { CliIo, Output } from "./output.ts";

/** All commands, in the order of the help. */
const COMMANDS: readonly Command[] = [
  demoCommand,
  getCommand,
  putCommand,
  deleteCommand,
  deleteRangeCommand,
  scanCommand,
  importCommand,
  exportCommand,
  statsCommand,
  estimateCommand,
  costCommand,
  manifestCommand,
  sstCommand,
  walCommand,
  changesCommand,
  compactCommand,
  compactorCommand,
  gcCommand,
  checkpointCommand,
  cloneCommand,
  doctorCommand,
  execCommand,
  loaderCommand,
];

/** Reasons of `InvalidArgument` that are about what the user typed. */
const TYPED_REASONS: ReadonlySet<string> = new Set([
  "key-empty",
  "key-too-long",
  "range-empty",
  "range-unbounded",
  "clone-paths",
  "location",
  "path",
  "options",
]);

/**
 * Runs one command.
 *
 * @param argv what follows the program's name, such as `["get", "./data", "key"]`
 * @param io streams and signals; default: those of the process
 * @returns the exit code: 0 done, 1 failed or not found, 2 the command line makes no sense
 */
export async function main(argv: readonly string[], io: CliIo = processIo()): Promise<number> {
  const out = new Printer(io.stdout);
  const err = new Printer(io.stderr);
  try {
    return await settle(out, err, argv, () => dispatch(argv, io, out, err));
  } catch (error) {
    if (error instanceof OutputClosed) return 0;
    throw error;
  }
}

async function dispatch(argv: readonly string[], io: CliIo, out: Printer, err: Printer): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    const asked = COMMANDS.find((command) => command.spec.name === rest[0]);
    await (name === undefined ? err : out).line(
      asked === undefined ? overview(COMMANDS.map((command) => command.spec)) : commandHelp(asked.spec),
    );
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-V") {
    await out.line(`phyllite ${VERSION}`);
    return 0;
  }
  const command = COMMANDS.find((candidate) => candidate.spec.name === name);
  if (command === undefined) throw new UsageError(unknownCommand(name));
  const ended = rest.indexOf("--");
  const flags = ended < 0 ? rest : rest.slice(0, ended);
  if (flags.includes("--help") || flags.includes("-h")) {
    await out.line(commandHelp(command.spec));
    return 0;
  }
  const args = parseArguments(command.spec, rest);
  const runtime = new Runtime(Context.empty());
  const releases: Array<Effect.Effect<void>> = [];
  try {
    return await command.run({ args, io, out, err, runtime, releases });
  } finally {
    for (const release of releases) await runtime.promise(release);
  }
}

function unknownCommand(name: string): string {
  const visible = COMMANDS.filter((command) => command.spec.hidden !== true).map((command) => command.spec.name);
  const near = nearest(name, visible);
  return `there is no command "${name}"; ${
    near === undefined ? `known are ${visible.join(", ")}` : `did you mean ${near}?`
  }`;
}

/** Runs `work`, says what went wrong, passes all output on. */
async function settle(
  out: Printer,
  err: Printer,
  argv: readonly string[],
  work: () => Promise<number>,
): Promise<number> {
  let code: number;
  try {
    code = await work();
  } catch (error) {
    if (error instanceof OutputClosed) throw error;
    code = await report(error, out, err, argv.includes("--json"));
  }
  await out.flush();
  await err.flush();
  return code;
}

/** What failures for these reasons have to do with flags: the engine's messages speak of options. */
const FLAG_HINTS: Readonly<Record<string, string>> = {
  "merge-operator-missing": ": name one with --merge",
  "wal-store": " (on the command line: --wal-location)",
};

async function report(error: unknown, out: Printer, err: Printer, json: boolean): Promise<number> {
  if (error instanceof UsageError || error instanceof CommandFailure) {
    const usage = error instanceof UsageError;
    const reason = usage ? "usage" : error.reason;
    if (json) await out.json({ error: { kind: error.name, reason, message: error.message } });
    await err.line(`phyllite: ${error.message}`);
    return usage ? 2 : 1;
  }
  const failure = asDbError(error);
  const reason = failure instanceof Internal ? "internal" : failure.reason;
  if (json) await out.json({ error: { kind: failure._tag, reason, message: failure.message } });
  const hint = FLAG_HINTS[reason] ?? "";
  await err.line(`phyllite: ${failure._tag}: ${failure.message}${hint}`);
  if (failure instanceof Internal && failure.cause instanceof Error) await err.line(String(failure.cause.stack));
  return failure._tag === "InvalidArgument" && TYPED_REASONS.has(reason) ? 2 : 1;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
