/**
 * The databases written by the official engine: all of them beside the checkout, or the committed part.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { canUseDisk } from "../support/permissions.ts";
import { repositoryPath, sharedPath } from "../support/shared.ts";

const SETS = ["slatedb-0.12.1", "slatedb-0.12.1-handmade"];

/** The part of `expected.json` that the control objects can be compared with. */
export interface Expected {
  readonly case: string;
  readonly wal_store_root?: string;
  readonly history?: ReadonlyArray<{ readonly seq: string; readonly create_ts: string }>;
  readonly files?: ReadonlyArray<{ readonly path: string; readonly size: number }>;
}

/** One database. */
export interface FixtureCase {
  readonly name: string;
  readonly folder: string;
  readonly expected: Expected;
}

/** One file of a database. */
export interface FixtureFile {
  /** Path inside the case's folder, with "/". */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Why the larger set is left out, or undefined when it is read. */
export function leftOut(): string | undefined {
  if (!canUseDisk()) return "needs permission to read files";
  return sharedPath("fixtures") === undefined
    ? "left out: shared/fixtures does not lie beside the checkout"
    : undefined;
}

/** Every case of the committed part, or of the larger set. */
export function fixtureCases(source: "committed" | "shared"): FixtureCase[] {
  const root = source === "committed" ? repositoryPath("tests/fixtures") : sharedPath("fixtures");
  if (root === undefined) return [];
  return SETS.flatMap((set) =>
    readdirSync(join(root, set)).sort().flatMap((name): FixtureCase[] => {
      const folder = join(root, set, name);
      const answers = join(folder, "expected.json");
      if (!existsSync(answers)) return [];
      return [{ name, folder, expected: JSON.parse(readFileSync(answers, "utf8")) as Expected }];
    })
  );
}

/** Every file of a case whose name ends that way, by ascending path. */
export function filesOf(fixture: FixtureCase, ending: string): FixtureFile[] {
  return readdirSync(fixture.folder, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => path.endsWith(ending))
    .sort()
    .map((path) => ({ path, bytes: new Uint8Array(readFileSync(join(fixture.folder, path))) }));
}

/** A file of the committed part. */
export function committedFile(path: string): Uint8Array {
  return new Uint8Array(readFileSync(repositoryPath(`tests/fixtures/${path}`)));
}
