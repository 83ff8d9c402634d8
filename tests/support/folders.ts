/**
 * Folders for the length of a test.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A fresh temporary folder; `dispose` removes it with all that is in it. */
export interface TestFolder {
  readonly path: string;
  readonly dispose: () => void;
}

/** Makes a folder below `parent`, by default where temporary files go. */
export function makeFolder(parent: string = tmpdir()): TestFolder {
  const path = mkdtempSync(join(parent, "phyllite-test-"));
  // A writer that was killed or fenced may still be at its last request.
  return { path, dispose: () => rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }) };
}

/** Runs `work` in a folder that is gone afterwards. */
export async function inFolder<A>(work: (folder: string) => Promise<A>): Promise<A> {
  const folder = makeFolder();
  try {
    return await work(folder.path);
  } finally {
    folder.dispose();
  }
}
