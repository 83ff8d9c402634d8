/**
 * What an examination of a store finds: one row per promise, and what follows from them.
 *
 * @module
 */

/** How a row came out; "skipped": it was not asked for, or the store does not claim it. */
export type RowVerdict = "pass" | "fail" | "warn" | "skipped";

/** What one probe found. */
export interface Finding {
  readonly verdict: RowVerdict;
  /** What was seen, for people. */
  readonly detail: string;
  /** Measured numbers; the name says the unit, such as `putP50Millis`. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** One row of the report. */
export interface DoctorRow extends Finding {
  /** The promise, such as "create-if-absent race". */
  readonly name: string;
}

/** Whether the engine can be trusted to such a store. */
export type Fitness = "fit" | "fit with warnings" | "unfit";

/** Everything an examination found. */
export interface DoctorReport {
  readonly fitness: Fitness;
  /** One sentence: "fit", or why not and what it would cost. */
  readonly verdict: string;
  readonly rows: ReadonlyArray<DoctorRow>;
  /** Where in the store it worked: a folder of a random name, ending in "/". */
  readonly prefix: string;
  /** Requests made, by kind, with repetitions and cleaning up. */
  readonly requests: Readonly<Record<string, number>>;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** How long it took, ms. */
  readonly millis: number;
  /** Objects that could not be deleted again. */
  readonly left: ReadonlyArray<string>;
}

/** The overall verdict. `costs` says by row name what a failed promise leads to. */
export function judge(
  rows: ReadonlyArray<DoctorRow>,
  costs: ReadonlyMap<string, string>,
): Pick<DoctorReport, "fitness" | "verdict"> {
  const failed = rows.filter((row) => row.verdict === "fail");
  if (failed.length > 0) {
    const reasons = failed.map(({ name }) => `${name}: ${costs.get(name) ?? "a promise is broken"}`);
    return { fitness: "unfit", verdict: `unfit: ${reasons.join("; ")}` };
  }
  const warned = rows.filter((row) => row.verdict === "warn").map(({ name }) => name);
  if (warned.length === 0) return { fitness: "fit", verdict: "fit" };
  return { fitness: "fit with warnings", verdict: `fit with warnings: ${warned.join(", ")}` };
}
