/**
 * Walks folders in the order of the names' bytes, one page at a time.
 *
 * A folder sorts as its name with "/" behind it, so that a depth-first walk gives the order of whole names. Links,
 * temporary files and names that no request could carry are passed over; folders wholly before `startAfter` are not
 * opened. A file that vanishes during the walk is left out.
 *
 * @module
 */
import type { ListPage, ObjectMeta } from "../object_store.ts";
import { compareNames, isObjectName } from "../store_names.ts";
import { errorCode } from "./file_system.ts";
import { type FileTree, TEMP_PREFIX } from "./file_tree.ts";

/** Objects in a page. */
const PAGE_LIMIT = 1000;
/** Files looked at together. */
const STAT_CONCURRENCY = 32;

/** One page of the names below `folder` ("" or ending in "/") after `startAfter`. */
export async function listFolder(tree: FileTree, folder: string, startAfter: string | undefined): Promise<ListPage> {
  const objects: Array<ObjectMeta> = [];
  let after = startAfter;
  while (true) {
    const names: Array<string> = [];
    const truncated = !await collect(tree, folder, after, names);
    const wanted = truncated ? names.slice(0, PAGE_LIMIT) : names;
    for (let at = 0; at < wanted.length; at += STAT_CONCURRENCY) {
      const metas = await Promise.all(wanted.slice(at, at + STAT_CONCURRENCY).map((name) => statObject(tree, name)));
      for (const meta of metas) if (meta !== undefined) objects.push(meta);
    }
    if (!truncated || objects.length > 0) return { objects, truncated };
    after = wanted.at(-1);
  }
}

/** Adds names to `names`, until there are more than a page; answers whether that was all. */
async function collect(
  tree: FileTree,
  folder: string,
  after: string | undefined,
  names: Array<string>,
): Promise<boolean> {
  for (const name of await sortedNames(tree, folder)) {
    const isFolder = name.endsWith("/");
    if (after !== undefined && compareNames(name, after) <= 0 && !(isFolder && after.startsWith(name))) continue;
    if (!isFolder) names.push(name);
    else if (!await collect(tree, name, after, names)) return false;
    if (names.length > PAGE_LIMIT) return false;
  }
  return true;
}

/** Whole names of what is in `folder`, in order; folders end in "/". */
async function sortedNames(tree: FileTree, folder: string): Promise<Array<string>> {
  const names: Array<string> = [];
  let entries;
  try {
    entries = await tree.files.readdir(await tree.locateFolder(folder.slice(0, -1)));
  } catch (error) {
    if (errorCode(error) !== "ENOENT" && errorCode(error) !== "ENOTDIR") throw error;
    await tree.assertRoot();
    return names;
  }
  for (const entry of entries) {
    if (entry.isSymbolicLink() || entry.name.startsWith(TEMP_PREFIX)) continue;
    const name = folder + entry.name;
    if (!isObjectName(name)) continue;
    if (entry.isDirectory()) names.push(`${name}/`);
    else names.push(name);
  }
  return names.sort(compareNames);
}

async function statObject(tree: FileTree, path: string): Promise<ObjectMeta | undefined> {
  try {
    const stat = await tree.files.lstat(`${tree.root}/${path}`);
    return stat.isFile() ? { path, size: stat.size, lastModifiedMillis: stat.mtimeMs } : undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
