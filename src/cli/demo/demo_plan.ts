/**
 * What the demo works on, and the sizes that follow from it. Parent and child make the same plan from the same folder.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type FileTree, listTree, type TreeFile } from "../file_tree.ts";
import { CommandFailure } from "../usage_error.ts";

/** A larger tree is cut, so that the demo ends while somebody still watches. */
const TREE_BYTES_MAX = 192 * 1024 * 1024;
const TREE_FILES_MAX = 20_000;
/** Files larger than this are left out. */
const FILE_BYTES_MAX = 32 * 1024 * 1024;
/** Fewer files can not be cut in the middle. */
const TREE_FILES_MIN = 8;
/** L0 tables to end up with, about. */
const TABLES_WANTED = 6;
/** Batches that the load is cut into, at least, if there are as many files. */
const BATCHES_WANTED = 64;
/** Share of the batches that the child may be ahead of the parent's counting. */
const WINDOW_SHARE = 8;

/** The demo's work and its sizes. */
export interface DemoPlan {
  readonly folder: string;
  /** In the order of their names as bytes; the name is the key. */
  readonly files: readonly TreeFile[];
  readonly totalBytes: number;
  /** Links, special and very large files that are left out. */
  readonly skipped: number;
  /** Whether files at the end were left out because there were too many. */
  readonly isCut: boolean;
  readonly l0SstSizeBytes: number;
  readonly batchBytes: number;
  readonly batchRows: number;
  /** Batches that the child may write before the parent has counted them. */
  readonly windowBatches: number;
}

/** Root of the repository this file lies in; undefined when it was not loaded from a disk. */
export function repositoryRoot(): string | undefined {
  return import.meta.url.startsWith("file:") ? fileURLToPath(new URL("../../../", import.meta.url)) : undefined;
}

/** The folder to store when none is given: the repository's installed dependencies, else those of where we are. */
export function defaultTree(): string {
  const candidates = [repositoryRoot(), process.cwd()].filter((root) => root !== undefined)
    .map((root) => join(root, "node_modules"));
  const found = candidates.find((folder) => existsSync(folder));
  if (found !== undefined) return found;
  throw new CommandFailure("folder", "There is no node_modules folder to store: name a folder with files in it");
}

/** Looks at the folder and decides on sizes. Fails when there is too little in it. */
export async function planDemo(given: string): Promise<DemoPlan> {
  const folder = resolve(given);
  const tree = await listTree(folder);
  const { files, totalBytes, skipped, isCut } = cut(tree);
  if (files.length < TREE_FILES_MIN) {
    throw new CommandFailure(
      "folder",
      `${folder} holds ${files.length} files; the demo needs ${TREE_FILES_MIN} or more`,
    );
  }
  const batchRows = Math.max(1, Math.min(64, Math.floor(files.length / BATCHES_WANTED)));
  const batches = Math.ceil(files.length / batchRows);
  return {
    folder,
    files,
    totalBytes,
    skipped,
    isCut,
    l0SstSizeBytes: clamp(Math.ceil(totalBytes / TABLES_WANTED), 64 * 1024, 16 * 1024 * 1024),
    batchBytes: clamp(Math.ceil(totalBytes / BATCHES_WANTED), 4 * 1024, 512 * 1024),
    batchRows,
    windowBatches: Math.max(1, Math.floor(batches / WINDOW_SHARE)),
  };
}

function cut(tree: FileTree): Pick<DemoPlan, "files" | "totalBytes" | "skipped" | "isCut"> {
  const files: TreeFile[] = [];
  let totalBytes = 0;
  let skipped = tree.skipped;
  for (const file of tree.files) {
    if (file.bytes > FILE_BYTES_MAX) {
      skipped++;
      continue;
    }
    if (files.length === TREE_FILES_MAX || totalBytes + file.bytes > TREE_BYTES_MAX) {
      return { files, totalBytes, skipped, isCut: true };
    }
    files.push(file);
    totalBytes += file.bytes;
  }
  return { files, totalBytes, skipped, isCut: false };
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value));
}
