/**
 * What is said when the object that somebody asked for by its number or id does not exist.
 *
 * @module
 */
import { DataError } from "../errors.ts";
import { CommandFailure } from "./usage_error.ts";

/**
 * What `read` answers; that `object` is missing becomes a `CommandFailure` "missing-object".
 *
 * @param object path of the object asked for
 * @param what its name for people, such as "manifest 7"
 * @param listing the command that lists what there is
 */
export async function asked<A>(object: string, what: string, listing: string, read: () => Promise<A>): Promise<A> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DataError) || error.reason !== "missing-object" || error.object !== object) throw error;
    throw new CommandFailure("missing-object", `There is no ${what} here; list them with "${listing}"`);
  }
}
