/**
 * Room in a cache folder: the limits of those who use it, eviction, and what to do when the disk itself is full.
 *
 * Invariant: a full disk is a limit like another. What the folder holds at that moment is as much as it may hold, until
 * the next scan; so a cache on a small or shared disk turns over instead of standing still.
 *
 * @module
 */
import { errorCode } from "../file/file_system.ts";
import type { CacheTree } from "./cache_tree.ts";
import { type PartIndex, PARTS_MAX } from "./part_index.ts";
import { parsePartName } from "./part_name.ts";

/** To what share of the limit an eviction goes. */
export const EVICTED_TO = 0.9;
/** Files that could not be removed, after which an eviction gives up. */
const STUBBORN_MAX = 16;
/** What a disk without room answers. */
const FULL: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);

/** One user of a folder: its limits, and what happened on its behalf. */
export interface Seat {
  readonly maxBytes: number;
  /** Time between scans, ms. */
  readonly scanIntervalMillis: number;
  /** Files evicted since it came, by whomever. */
  evictedKeys: number;
  evictedBytes: number;
  /** Parts that were not kept: the queue or the folder was full, or writing paused. */
  skippedParts: number;
}

/** The room of one folder. */
export class FolderRoom {
  /** What a full disk had room for, bytes; Infinity while none was full since the last scan. */
  ceiling = Infinity;
  readonly #tree: CacheTree;
  readonly #index: PartIndex;
  readonly #seats: ReadonlySet<Seat>;
  readonly #onStep: () => void;

  constructor(tree: CacheTree, index: PartIndex, seats: ReadonlySet<Seat>, onStep: () => void) {
    this.#tree = tree;
    this.#index = index;
    this.#seats = seats;
    this.#onStep = onStep;
  }

  /** Disk space that all files may take, bytes. */
  get limit(): number {
    let limit = this.ceiling;
    for (const { maxBytes } of this.#seats) limit = Math.min(limit, maxBytes);
    return limit;
  }

  /** Makes room for one more file; false where that is not possible. */
  async make(space: number): Promise<boolean> {
    const { limit } = this;
    if (this.#index.bytes + space <= limit && this.#index.count < PARTS_MAX) return true;
    if (space > EVICTED_TO * limit) return false;
    return await this.evictTo(EVICTED_TO * limit - space);
  }

  /** Writes a file; where the disk is full, once more after an eviction. Fails like `write`. */
  async store(space: number, write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      if (!FULL.has(errorCode(error) ?? "") || this.#index.count === 0) throw error;
      this.ceiling = this.#index.bytes;
      await this.evictTo(Math.max(0, EVICTED_TO * this.limit - space));
      await write();
    }
  }

  /** Evicts until at most so many bytes are left; false when files cannot be removed. */
  async evictTo(bytes: number): Promise<boolean> {
    const countMax = this.#index.count >= PARTS_MAX ? EVICTED_TO * PARTS_MAX : PARTS_MAX;
    let stubborn = 0;
    while (this.#index.bytes > bytes || this.#index.count > countMax) {
      const name = this.#index.victim();
      if (name === undefined) return false;
      if (!await this.#tree.remove(parsePartName(name)!, name)) {
        if (++stubborn > STUBBORN_MAX) return false;
        continue;
      }
      this.#onStep();
      const freed = this.#index.remove(name);
      for (const seat of this.#seats) {
        seat.evictedKeys++;
        seat.evictedBytes += freed;
      }
    }
    return true;
  }
}
