/**
 * The version of the package, as `deno.json` has it.
 *
 * @module
 */

/** What `phyllite --version` prints. */
export const VERSION = "0.1.0";
