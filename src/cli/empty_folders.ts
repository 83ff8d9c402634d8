/**
 * Folders that a store on disk made for objects which are gone again.
 *
 * Only empty folders are ever removed: `rmdir` refuses the others.
 *
 * @module
 */
import { lstat, readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";

/** What the names of the doctor's folders begin with: others may belong to a database that is just being made. */
const OWN = "phyllite-doctor-";
/** Levels of folders that are looked into, at most. */
const DEPTH_MAX = 64;

/**
 * Runs `work`, then removes the doctor's folders below `folder`/`root` as far as they are empty, and those two if `work`
 * made them. Does nothing besides when `folder` is undefined.
 */
export async function keepingFolders<A>(folder: string | undefined, root: string, work: () => Promise<A>): Promise<A> {
  if (folder === undefined) return await work();
  const place = join(folder, root);
  const missing = await missingOf(folder, root);
  try {
    return await work();
  } finally {
    for (const name of await foldersIn(place)) if (name.startsWith(OWN)) await removeEmpty(join(place, name), 0);
    for (const path of missing) await rmdir(path).catch(() => {});
  }
}

/** `folder` and the folders of `root` in it that are not there, deepest first. */
async function missingOf(folder: string, root: string): Promise<string[]> {
  const paths = [folder];
  for (const part of root.split("/")) if (part !== "") paths.push(join(paths.at(-1)!, part));
  const missing: string[] = [];
  for (const path of paths.reverse()) if (await lstat(path).then(() => false, () => true)) missing.push(path);
  return missing;
}

async function foldersIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

async function removeEmpty(path: string, depth: number): Promise<void> {
  if (depth >= DEPTH_MAX) return;
  for (const name of await foldersIn(path)) await removeEmpty(join(path, name), depth + 1);
  await rmdir(path).catch(() => {});
}
