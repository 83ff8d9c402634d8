/**
 * What ends a compactor or a job of it without anything being wrong with the database.
 *
 * @module
 */
import { Unavailable } from "../errors.ts";

/** Another compactor took over: this one stops, and nobody else is concerned. */
export class CompactorFenced extends Error {
  override readonly name = "CompactorFenced";

  constructor(found: number, own: number) {
    super(`another compactor took over (epoch ${found}, ours was ${own})`);
  }
}

/** Sources of a job vanished: somebody else compacted them. */
export class SourcesGone extends Error {
  override readonly name = "SourcesGone";
}

/** What a caller who waits for a compaction is told. */
export function asFailure(error: unknown): unknown {
  const superseded = (what: string, advice: string) =>
    new Unavailable({ reason: "superseded", message: `Cannot compact: ${what}. ${advice}`, cause: error });
  if (error instanceof CompactorFenced) {
    return superseded(error.message, "Leave the compaction to it, or stop it and try again");
  }
  if (error instanceof SourcesGone) {
    return superseded(`${error.message}, another process compacted them`, "Try again");
  }
  return error;
}
