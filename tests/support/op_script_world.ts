/**
 * The stores that scenarios happen on: empty at the start, gone at the end.
 *
 * @module
 */
import { accessSync, constants } from "node:fs";
import { tmpdir } from "node:os";
import { fileStore } from "../../src/store/file_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { makeFolder } from "./folders.ts";

/** A place to run one scenario in. */
export interface Place {
  readonly store: ObjectStoreShape;
  /** Root of the database in it. */
  readonly path: string;
  /** Removes what the scenario left. */
  readonly dispose: () => void;
}

/** A folder of Linux that lies in memory. Scripts make thousands of objects, and each costs a disk two fsyncs. */
const IN_MEMORY = "/dev/shm";

/** Where folders of scenarios go; undefined: where all temporary files go. */
function fastParent(): string | undefined {
  if (tmpdir().startsWith(IN_MEMORY)) return undefined;
  try {
    accessSync(IN_MEMORY, constants.W_OK);
    return IN_MEMORY;
  } catch {
    return undefined;
  }
}

/** The stores that scenarios run on. */
export const PLACES: Readonly<Record<"memory" | "file", () => Place>> = {
  memory: () => ({ store: memoryStore(), path: "db", dispose: () => {} }),
  file: () => {
    const { path, dispose } = makeFolder(fastParent());
    return { store: fileStore(path), path: "db", dispose };
  },
};
