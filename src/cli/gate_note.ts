/**
 * Whether other engines refuse a database because of range deletes, and what ends that.
 *
 * @module
 */
import type { Manifest } from "../format/types.ts";
import { isGated, namesRanges } from "../state/range_gate.ts";
import type { CommandContext } from "./command.ts";
import { StoredObjects } from "./inspect.ts";
import { tablesPlaceOf } from "./places.ts";

/** Said in the help of what raises the gate, and of what a user would expect to lower it. */
export const GATE_NOTE =
  "SlateDB refuses a database with range deletes as a whole. It can open it again when compaction has removed them all " +
  "and a writer has flushed a memtable, compacted or closed after that; a compactor beside the writer cannot end it. " +
  'All of it at once, as a writer: {"op":"open"} and {"op":"compact"}, a line each, sent to "phyllite exec". ' +
  'Checkpoints of the time with range deletes stay refused until they end ("phyllite manifest" names them).';

/** The newest manifest, as a command left it. */
export async function manifestAfter(context: CommandContext): Promise<Manifest> {
  const place = { ...await tablesPlaceOf(context), walStore: undefined };
  return (await new StoredObjects(context.runtime, place).newest()).manifest;
}

/** That SlateDB refuses the database, why, and what ends it; undefined when it does not. */
export function gateText(manifest: Manifest): string | undefined {
  if (!isGated(manifest)) return undefined;
  const why = namesRanges(manifest)
    ? "its tables hold some. A compaction of all of it removes those that no snapshot " +
      "needs, then a writer ends the refusal when it closes"
    : "its tables hold none, its log may. The next writer ends the refusal when it closes, if the log holds none " +
      "either; else when they have been flushed and compacted";
  return `SlateDB refuses the database because of range deletes: ${why}`;
}
