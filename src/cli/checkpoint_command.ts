/**
 * `checkpoint`: the checkpoints of a database, without opening it for writing.
 *
 * @module
 */
import { createCheckpoint, deleteCheckpoint, listCheckpoints, refreshCheckpoint } from "../db/admin_calls.ts";
import type { Checkpoint } from "../db/admin_api.ts";
import { InvalidArgument } from "../errors.ts";
import { type Command, type CommandContext, JSON_FLAG, LOCATION_FLAGS, LOCATION_POSITION } from "./command.ts";
import { missingDatabase, type Place, placeOf } from "./places.ts";
import { columns, timeText } from "./text_layout.ts";
import { UsageError } from "./usage_error.ts";

/** What can be done, the flags that say how, and whether it is done to a checkpoint that is there. */
const ACTIONS = {
  list: { flags: ["name"], takesId: false },
  create: { flags: ["name", "lifetime", "source"], takesId: false },
  refresh: { flags: ["lifetime"], takesId: true },
  delete: { flags: [], takesId: true },
} as const satisfies Record<string, { readonly flags: ReadonlyArray<string>; readonly takesId: boolean }>;

type Action = keyof typeof ACTIONS;
type Options = Parameters<typeof createCheckpoint>[1] & object;

function actionOf({ args }: CommandContext): Action {
  const given = args.optionalPosition("action") ?? "list";
  if (!Object.hasOwn(ACTIONS, given)) {
    throw new UsageError(`checkpoint can list, create, refresh and delete; it does not know "${given}"`);
  }
  const action = given as Action;
  const { flags, takesId } = ACTIONS[action];
  const id = args.optionalPosition("id");
  if (takesId && id === undefined) throw new UsageError(`checkpoint ${action} needs <id>: "list" shows the ids`);
  if (!takesId && id !== undefined) throw new UsageError(`checkpoint ${action} does not know what to do with "${id}"`);
  for (const flag of ["name", "source"] as const) {
    if (args.text(flag) !== undefined && !(flags as ReadonlyArray<string>).includes(flag)) {
      throw new UsageError(`--${flag} has no meaning for checkpoint ${action}`);
    }
  }
  if (args.on("force") && action !== "delete") throw new UsageError(`--force has no meaning for checkpoint ${action}`);
  if (args.count("lifetime") !== undefined && !(flags as ReadonlyArray<string>).includes("lifetime")) {
    throw new UsageError(`--lifetime has no meaning for checkpoint ${action}`);
  }
  return action;
}

function optionsOf({ args }: CommandContext): Options {
  const name = args.text("name");
  const lifetimeMillis = args.count("lifetime");
  const source = args.text("source");
  return {
    ...(name === undefined ? {} : { name }),
    ...(lifetimeMillis === undefined ? {} : { lifetimeMillis }),
    ...(source === undefined ? {} : { source }),
  };
}

/** Without --lifetime the checkpoint does not end by itself, as with "create". */
function lifetimeOf({ args }: CommandContext): { readonly lifetimeMillis: number | null } {
  return { lifetimeMillis: args.count("lifetime") ?? null };
}

function endText({ expiresAt }: Checkpoint, nowMillis: number): string {
  if (expiresAt === undefined) return "never";
  return `${timeText(expiresAt) ?? expiresAt}${expiresAt <= nowMillis ? " (ended)" : ""}`;
}

async function printList({ args, out, runtime }: CommandContext, list: readonly Checkpoint[]): Promise<void> {
  if (args.on("json")) {
    for (const checkpoint of list) await out.json(checkpoint);
    return;
  }
  if (list.length === 0) return await out.line("no checkpoints");
  const now = runtime.now();
  const rows = list.map((one) => [
    one.id,
    String(one.manifestId),
    timeText(one.createdAt) ?? String(one.createdAt),
    endText(one, now),
    one.name ?? "-",
  ]);
  for (const line of columns([["checkpoint", "manifest", "made", "ends", "name"], ...rows])) await out.line(line);
}

async function printOne({ args, out, runtime }: CommandContext, checkpoint: Checkpoint): Promise<void> {
  if (args.on("json")) return await out.json(checkpoint);
  const { id, manifestId } = checkpoint;
  await out.line(`checkpoint ${id} of manifest ${manifestId}, ends: ${endText(checkpoint, runtime.now())}`);
}

async function act(context: CommandContext, action: Action, place: Place): Promise<void> {
  const location = { store: place.store, path: place.root };
  const options = optionsOf(context);
  const id = context.args.optionalPosition("id") ?? "";
  switch (action) {
    case "list":
      return await printList(context, await listCheckpoints(location, options));
    case "create":
      return await printOne(context, await createCheckpoint(location, options));
    case "refresh":
      return await printOne(context, await refreshCheckpoint(location, id, lifetimeOf(context)));
    case "delete":
      await deleteCheckpoint(location, id, { force: context.args.on("force") });
      return await (context.args.on("json") ? context.out.json({ deleted: id }) : context.out.line(`deleted ${id}`));
  }
}

async function runCheckpoint(context: CommandContext): Promise<number> {
  const action = actionOf(context);
  const place = await placeOf(context);
  await act(context, action, place).catch((error) => {
    throw error instanceof InvalidArgument && error.reason === "missing-database" ? missingDatabase(place) : error;
  });
  return 0;
}

/** Lists, makes, prolongs and deletes checkpoints. */
export const checkpointCommand: Command = {
  spec: {
    name: "checkpoint",
    summary: "List, create, refresh or delete checkpoints: states that are kept for readers and clones",
    details:
      "A checkpoint keeps every object of one state from garbage collection until it ends. Works beside a live " +
      "writer and fences nobody.\n" +
      "What create pins is the newest stored manifest: of a writer that is open or has crashed it may lack the newest " +
      "rows of the log. Without --lifetime a checkpoint is kept until it is deleted.",
    positions: [
      LOCATION_POSITION,
      { name: "action", about: "list (when left out), create, refresh or delete", optional: true },
      { name: "id", about: "the checkpoint to refresh or delete", optional: true },
    ],
    flags: [
      { name: "name", kind: "text", value: "NAME", about: 'create: its name; list: those of this name ("" = unnamed)' },
      { name: "lifetime", kind: "span", value: "SPAN", about: "create, refresh: how long it lives, such as 10m or 7d" },
      { name: "source", kind: "text", value: "ID", about: "create: pin what that checkpoint pins" },
      { name: "force", kind: "switch", about: "delete: also one that a clone needs, which then loses its data" },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: [
      "phyllite checkpoint ./data",
      "phyllite checkpoint ./data create --name nightly --lifetime 7d",
      "phyllite checkpoint ./data delete 5f2c0b1e-…",
    ],
  },
  run: runCheckpoint,
};
