/**
 * A folder of files as rows: which files there are, under which keys, in the order of the keys.
 *
 * Links are not followed and special files are left out. A key is the file's path below the folder with `/` between
 * the parts, after a prefix that the caller chooses.
 *
 * @module
 */
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { compareBytes } from "../bytes/compare.ts";
import { utf8 } from "./bytes_text.ts";
import { CommandFailure } from "./usage_error.ts";

/** A file of a tree. */
export interface TreeFile {
  /** Path on this machine. */
  readonly path: string;
  /** Path below the tree's folder, `/`-separated. */
  readonly name: string;
  /** Size in bytes when it was listed. */
  readonly bytes: number;
}

/** What a folder holds. */
export interface FileTree {
  /** In the order of their names as bytes. */
  readonly files: readonly TreeFile[];
  readonly totalBytes: number;
  /** Links and special files that were left out. */
  readonly skipped: number;
}

/** Lists a folder with everything below it. Fails with `CommandFailure` when it is none. */
export async function listTree(folder: string): Promise<FileTree> {
  const files: TreeFile[] = [];
  let skipped = 0;
  const walk = async (path: string, name: string): Promise<void> => {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      const below = join(path, entry.name);
      const belowName = name === "" ? entry.name : `${name}/${entry.name}`;
      if (entry.isDirectory()) await walk(below, belowName);
      else if (entry.isFile()) files.push({ path: below, name: belowName, bytes: (await lstat(below)).size });
      else skipped++;
    }
  };
  try {
    await walk(folder, "");
  } catch (error) {
    throw new CommandFailure("folder", `Cannot list ${folder}: ${(error as Error).message}`);
  }
  const keyed = files.map((file) => ({ file, key: utf8(file.name) }));
  keyed.sort((a, b) => compareBytes(a.key, b.key));
  const sorted = keyed.map(({ file }) => file);
  return { files: sorted, totalBytes: sorted.reduce((sum, file) => sum + file.bytes, 0), skipped };
}
