/**
 * The stores that scenarios happen on: empty at the start, gone at the end.
 *
 * @module
 */
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

/** The stores that scenarios run on. */
export const PLACES: Readonly<Record<"memory" | "file", () => Place>> = {
  memory: () => ({ store: memoryStore(), path: "db", dispose: () => {} }),
  file: () => {
    const { path, dispose } = makeFolder();
    return { store: fileStore(path), path: "db", dispose };
  },
};
