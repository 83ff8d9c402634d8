/**
 * Checks of the options of a single call.
 *
 * A refused call has changed nothing. The texts name the option and say what to give instead.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";
import type { WriteOptions } from "./api.ts";

/** Refuses unknown option names, so that a typing error never becomes a silent default. */
export function checkFields(options: object, known: ReadonlySet<string>): void {
  if (typeof options !== "object" || options === null) {
    throw refused("The options of the call are not an object: give one, or leave them out");
  }
  for (const field in options) {
    if (!known.has(field)) {
      const names = known.size === 0 ? "the call takes none" : `known are ${[...known].join(", ")}`;
      throw refused(`There is no option "${field}" here: ${names}. Correct the name or leave it out`);
    }
  }
}

/** The same for the options of a write, of which `durable` must not be anything that only looks like true. */
export function checkWriteFields(options: WriteOptions, known: ReadonlySet<string>): void {
  checkFields(options, known);
  const { durable } = options;
  if (durable !== undefined && typeof durable !== "boolean") throw badOption("durable", "true or false");
}

/** The error of a bad option of a call. */
export function badOption(field: string, expected: string): InvalidArgument {
  return refused(`The option "${field}" cannot be taken: give ${expected}`);
}

function refused(message: string): InvalidArgument {
  return new InvalidArgument({ reason: "options", message });
}
