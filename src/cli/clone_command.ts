/**
 * `clone`: a writable database that begins as another one's state and shares its tables.
 *
 * @module
 */
import { clone, deleteClone } from "../db/clone_calls.ts";
import { type Command, type CommandContext, JSON_FLAG, LOCATION_FLAGS } from "./command.ts";
import { placeOf } from "./places.ts";
import { plural } from "./text_layout.ts";
import { CommandFailure, UsageError } from "./usage_error.ts";

async function runDelete(context: CommandContext): Promise<number> {
  const { args, out } = context;
  if (args.text("checkpoint") !== undefined) throw new UsageError("--checkpoint and --delete do not go together");
  const extra = args.optionalPosition("clone");
  if (extra !== undefined) throw new UsageError(`clone --delete takes the clone alone; what is "${extra}"?`);
  const { store, root } = await placeOf(context);
  const report = await deleteClone({ store, path: root });
  if (args.on("json")) await out.json(report);
  else {
    await out.line(
      `deleted ${plural(report.objects, "object")}; released ${
        report.released.join(", ")
      }. Three small objects stay, ` +
        "which stop whoever has the clone open; a clone can be made there again",
    );
  }
  return 0;
}

async function runMake(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const target = args.optionalPosition("clone");
  if (target === undefined) throw new UsageError("clone needs <clone>: where the clone shall be");
  if (args.text("wal-location") !== undefined) {
    throw new CommandFailure("wal-store", "A database with its log in a store of its own cannot be cloned");
  }
  const below = args.text("path") === undefined ? undefined : await placeOf(context);
  const parent = below === undefined ? args.position("location") : { store: below.store, path: below.root };
  const checkpoint = args.text("checkpoint");
  const report = await clone(parent, target, checkpoint === undefined ? {} : { checkpoint });
  if (args.on("json")) {
    await out.json(report);
  } else if (report.created) {
    await out.line(
      `cloned to ${target}: shares its parent's tables, ${plural(report.walObjects, "WAL object")} copied; ` +
        `the parent keeps checkpoint ${report.finalCheckpoint} for it`,
    );
  } else {
    await out.line(`${target} was cloned before, from checkpoint ${report.sourceCheckpoint}`);
  }
  return 0;
}

/** Makes or deletes a clone. */
export const cloneCommand: Command = {
  spec: {
    name: "clone",
    summary: "Clone a database without copying it, or delete a clone",
    details: "The clone is writable, lies beside its parent, and shares the parent's tables until it has rewritten " +
      "them; both go on independently. Interrupted, it is finished by running it again.\n" +
      "Without --checkpoint it begins with the parent's newest stored manifest: of a parent that is open or has " +
      "crashed it may lack the newest rows of the log. Delete a clone with --delete, not by removing its folder: the " +
      "parent keeps tables for it until then.",
    positions: [
      { name: "location", about: "the parent: a folder, a file: URL or s3://…; with --delete the clone" },
      {
        name: "clone",
        about: "a folder beside the parent's; in S3 a place in the same bucket; with --path, a path in the same store",
        optional: true,
      },
    ],
    flags: [
      { name: "checkpoint", kind: "text", value: "ID", about: "Begin with the state that this checkpoint pins" },
      { name: "delete", kind: "switch", about: "Delete the clone, all but a mark, and release what is kept for it" },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: [
      "phyllite clone ./data ./trial",
      "phyllite clone ./databases clones/trial --path main",
      "phyllite clone ./trial --delete",
    ],
  },
  run: (context) => context.args.on("delete") ? runDelete(context) : runMake(context),
};
