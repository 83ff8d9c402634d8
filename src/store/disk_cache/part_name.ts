/**
 * Which objects a disk cache may keep, and the names of its files: the one place that makes and reads them.
 *
 * Only tables are kept: the ULID in their name is never used twice, so that their bytes never change. Names of log
 * objects are used again (after a database was deleted and made anew, or in a gap that was collected), and control
 * objects change what they mean: neither is ever kept, nor looked for.
 *
 * ```text
 * <folder>/phyllite-parts-1/<2 hex digits>/<40 hex digits>-<part number>
 * ```
 *
 * The 40 digits are of SHA-256 over what tells the store from others, the object's name and the size of parts: nothing
 * that came from a store is used as a path, and neither another store's parts nor those of another size are ever met.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { COMPACTED_DIR, parseTableName } from "../../format/paths.ts";

/** The one folder of the cache's folder that is the cache's own. Changes with the format of the files. */
export const PARTS_FOLDER = "phyllite-parts-1";
/** Folders that parts are spread over. */
export const SHARDS = 64;

const PART_NAME = /^([0-9a-f]{40})-(0|[1-9][0-9]{0,9})$/;
const IN_TABLES = new RegExp(`(?:^|/)${COMPACTED_DIR}/[^/]+$`);

/** Whether the bytes of an object of this name never change. */
export function isKept(path: string): boolean {
  return typeof path === "string" && IN_TABLES.test(path) && parseTableName(path) !== undefined;
}

/** An object as the cache knows it. */
export interface CachedObject {
  /** What the names of its parts begin with. */
  readonly digest: string;
  /** The folder its parts are in. */
  readonly shard: string;
  /** 32 bits that its checksums are mixed with. */
  readonly seed: number;
}

/** The object `path` of the store that `identity` names, in parts of `partBytes`. */
export function cachedObject(identity: string, path: string, partBytes: number): CachedObject {
  const hash = createHash("sha256").update(JSON.stringify([identity, path, partBytes])).digest();
  const digest = hash.toString("hex").slice(0, 40);
  return { digest, shard: shardOf(digest), seed: hash.readUInt32LE(20) };
}

/** Name of a file. */
export function partName(object: CachedObject, part: number): string {
  return `${object.digest}-${part}`;
}

/** The folder of a file by its name; undefined when no part has such a name. */
export function parsePartName(name: string): string | undefined {
  const match = PART_NAME.exec(name);
  return match === null ? undefined : shardOf(match[1]!);
}

/** Name of the n-th folder of parts. */
export function shardName(n: number): string {
  return n.toString(16).padStart(2, "0");
}

function shardOf(digest: string): string {
  return shardName(parseInt(digest.slice(0, 2), 16) % SHARDS);
}
