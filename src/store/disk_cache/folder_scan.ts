/**
 * Looks through a cache folder: what is there, and what a crash has left.
 *
 * Asynchronous and bounded: a folder of 64 at a time, 32 files at once, and no more files than the index takes.
 *
 * @module
 */
import { errorCode, type FileSystem } from "../file/file_system.ts";
import { diskBytes } from "./part_file.ts";
import type { PartIndex } from "./part_index.ts";
import { parsePartName, shardName, SHARDS } from "./part_name.ts";

const TEMP_NAME = /^\.phyllite-tmp-(\d+)-[0-9a-f]+$/;
/** A temporary file of a process that seems alive is left over when it is this old (its number was used again). */
const TEMP_AGE_MAX_MILLIS = 3_600_000;
/** Files asked about at once. */
const FILES_AT_ONCE = 32;

/** What a scan works with. */
export interface ScanSpec {
  readonly files: FileSystem;
  /** Absolute path of a shard, "" for the folder above, once it is known to be no link. Fails with "ENOENT". */
  readonly shardPath: (shard: string) => Promise<string>;
  readonly index: PartIndex;
  /** Wall time, ms. */
  readonly nowMillis: number;
  /** Whether this process is writing the temporary file of this absolute path. */
  readonly isBeingWritten: (path: string) => boolean;
  /** Makes room for one more file in the index. */
  readonly makeRoom: () => Promise<void>;
  /** Called after each few files. */
  readonly onStep: () => void;
  /** Whether nobody wants the scan any more. */
  readonly isStopped: () => boolean;
}

/** Brings the index up to date with the folder; fails like the file system, and changes nothing that it has not seen. */
export async function scanFolder(spec: ScanSpec): Promise<void> {
  spec.index.beginScan();
  await scanShard(spec, "");
  for (let n = 0; n < SHARDS; n++) {
    if (spec.isStopped()) return;
    await scanShard(spec, shardName(n));
  }
  spec.index.endScan();
}

async function scanShard(spec: ScanSpec, shard: string): Promise<void> {
  const { files, index } = spec;
  let path: string;
  let names: string[];
  try {
    path = await spec.shardPath(shard);
    names = (await files.readdir(path)).filter((entry) => entry.isFile()).map(({ name }) => name);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  spec.onStep();
  const unknown: string[] = [];
  for (const name of names) {
    if (parsePartName(name) === shard) {
      if (!index.seen(name)) unknown.push(name);
    } else if (await isLeftOver(spec, path, name)) {
      await files.unlink(`${path}/${name}`).catch(() => {});
      spec.onStep();
    }
  }
  for (let at = 0; at < unknown.length; at += FILES_AT_ONCE) {
    await Promise.all(
      unknown.slice(at, at + FILES_AT_ONCE).map(async (name) => {
        const stat = await files.lstat(`${path}/${name}`).catch(() => undefined);
        if (stat === undefined || !stat.isFile() || index.seen(name)) return;
        await spec.makeRoom();
        index.put(name, diskBytes(stat.size), stat.mtimeMs);
      }),
    );
    spec.onStep();
  }
}

/** Whether a name is that of a temporary file whose process is gone. */
async function isLeftOver(
  { files, nowMillis, isBeingWritten }: ScanSpec,
  folder: string,
  name: string,
): Promise<boolean> {
  const match = TEMP_NAME.exec(name);
  if (match === null || isBeingWritten(`${folder}/${name}`)) return false;
  const owner = Number(match[1]);
  if (owner === files.processId || !files.isProcessAlive(owner)) return true;
  const stat = await files.lstat(`${folder}/${name}`).catch(() => undefined);
  return stat !== undefined && nowMillis - stat.mtimeMs > TEMP_AGE_MAX_MILLIS;
}
