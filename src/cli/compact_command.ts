/**
 * `compact`: everything, or a range of keys, into as few tables as it needs; then it ends.
 *
 * @module
 */
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_POSITION,
  MERGE_FLAG,
  PATH_FLAG,
  RANGE_FLAGS,
} from "./command.ts";
import { compactionKeys } from "../db/compaction.ts";
import { isGated } from "../state/range_gate.ts";
import { CompactionWatch, COMPACTOR_NOTE, movedText, shapeText } from "./compaction_watch.ts";
import { GATE_NOTE, gateText, manifestAfter } from "./gate_note.ts";
import { rangeOf } from "./places.ts";
import { UsageError } from "./usage_error.ts";

async function runCompact(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const range = rangeOf(context);
  const hasRange = Object.keys(range).length > 0;
  if (hasRange && args.on("full")) throw new UsageError("--full and a range do not go together");
  // A range that makes no sense is refused before another compactor loses its place.
  const wanted = hasRange ? range : undefined;
  compactionKeys(wanted);
  const watch = await CompactionWatch.start(context, {});
  try {
    const before = watch.compactor.status;
    await watch.finished((compactor) => compactor.compact(wanted));
    const after = watch.compactor.status;
    const manifest = await manifestAfter(context);
    if (args.on("json")) {
      await out.json({
        done: true,
        compactions: after.published,
        bytesIn: after.bytesIn,
        bytesOut: after.bytesOut,
        l0Count: after.l0Count,
        runCount: after.runCount,
        rangeDeletes: isGated(manifest),
      });
      return 0;
    }
    if (after.published === 0) {
      await out.line(
        `nothing to compact: ${shapeText(after)}; rows in the log become tables when a writer flushes them`,
      );
    } else {
      await out.line(
        `compacted ${shapeText(before)} into ${shapeText(after)}: ${movedText(after.bytesIn, after.bytesOut)}`,
      );
    }
    const gate = gateText(manifest);
    if (gate !== undefined) await out.line(gate);
  } finally {
    await watch.close();
  }
  return 0;
}

/** Compacts once, whether it is due or not. */
export const compactCommand: Command = {
  spec: {
    name: "compact",
    summary: "Merge the tables of a database into one sorted run, now",
    details: `${COMPACTOR_NOTE}\n` +
      "With a range, what overlaps it is merged, whole tables at a time. A range or not, tables that hold neither " +
      `deletes nor expiring rows and overlap nothing may stay as they are.\n${GATE_NOTE}`,
    positions: [LOCATION_POSITION],
    flags: [
      { name: "full", kind: "switch", about: "Everything; the default without a range" },
      ...RANGE_FLAGS,
      MERGE_FLAG,
      JSON_FLAG,
      PATH_FLAG,
    ],
    examples: ["phyllite compact ./data", "phyllite compact ./data --prefix logs/2024-"],
  },
  run: runCompact,
};
