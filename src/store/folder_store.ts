/**
 * The store of a database that is opened by the name of its folder: the folder, and the databases in those beside it.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { fileStore } from "./file_store.ts";
import type { ObjectStoreShape } from "./object_store.ts";
import { siblingFolders, withSiblings } from "./sibling_folders.ts";

/** A folder as a store. */
export interface FolderStore {
  /** Together with the databases beside the folder. */
  readonly store: ObjectStoreShape;
  /** Without them; undefined where there is no place beside it. */
  readonly inside: ObjectStoreShape | undefined;
}

/** The store of the absolute path `folder`. Nothing is touched before the first request. */
export function folderStore(folder: string): FolderStore {
  const inside = fileStore(folder);
  if (basename(folder) === "") return { store: inside, inside: undefined };
  return { store: withSiblings(inside, foldersIn(dirname(folder))), inside };
}

/** The databases in the folders directly below `folder` as one store: their roots are the names of their folders. */
export function foldersIn(folder: string): ObjectStoreShape {
  return siblingFolders((name) => fileStore(join(folder, name)));
}
