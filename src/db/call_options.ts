/**
 * Checks of the options of a single call.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";

/** Refuses unknown option names, so that a typing error never becomes a silent default. */
export function checkFields(options: object, known: ReadonlySet<string>): void {
  if (typeof options !== "object" || options === null) throw badOption("options", "an object");
  for (const field in options) if (!known.has(field)) throw badOption(field, `one of ${[...known].join(", ")}`);
}

/** The error of a bad option of a call. */
export function badOption(field: string, expected: string): InvalidArgument {
  return new InvalidArgument({ reason: "options", message: `Bad option ${field}: expected ${expected}` });
}
