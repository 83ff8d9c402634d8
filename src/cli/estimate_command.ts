/**
 * `estimate`: about how much a range holds, told without reading it.
 *
 * @module
 */
import { resolveRange } from "../lsm/key_range.ts";
import {
  type Command,
  type CommandContext,
  JSON_FLAG,
  LOCATION_FLAGS,
  LOCATION_POSITION,
  RANGE_FLAGS,
  READER_NOTE,
} from "./command.ts";
import { StoredObjects, StoredView } from "./inspect.ts";
import { placeOf, rangeOf } from "./places.ts";
import { countText, sizeText } from "./text_layout.ts";

async function runEstimate(context: CommandContext): Promise<number> {
  const { args, out } = context;
  const range = resolveRange(rangeOf(context));
  const view = await StoredView.read(new StoredObjects(context.runtime, await placeOf(context)));
  const { bytes, entries } = await view.estimate(range);
  if (args.on("json")) await out.json({ bytes, entries });
  else if (bytes === 0) await out.line("nothing");
  else await out.line(`about ${countText(entries)} ${entries === 1 ? "row" : "rows"}, ${sizeText(bytes)}`);
  return 0;
}

/** Prints the estimated size of a range. */
export const estimateCommand: Command = {
  spec: {
    name: "estimate",
    summary: "Print about how many rows and bytes a range holds, without reading them",
    details:
      "Told from the tables' indexes and statistics and from the log, with at most 256 requests for tables. Rows " +
      "that range deletes cover are left out; those that were overwritten or deleted one by one count until a " +
      `compaction. Without bounds: everything. ${READER_NOTE}`,
    positions: [LOCATION_POSITION],
    flags: [...RANGE_FLAGS, JSON_FLAG, ...LOCATION_FLAGS],
    examples: ["phyllite estimate ./data --prefix user:", "phyllite estimate ./data --gte a --lt b --json"],
  },
  run: runEstimate,
};
