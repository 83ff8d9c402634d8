/**
 * Finds the external test data that may lie beside a checkout: a folder `shared` next to the repository's folder.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { canUseDisk } from "./permissions.ts";

const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A path inside the repository. */
export function repositoryPath(relative: string): string {
  return join(repository, relative);
}

/** A path inside the shared folder, or undefined when it is not there or may not be read. */
export function sharedPath(relative: string): string | undefined {
  if (!canUseDisk()) return undefined;
  const path = join(dirname(repository), "shared", relative);
  return existsSync(path) ? path : undefined;
}
