/**
 * One folder of cached parts, as all disk caches of a process share it: reads, a bounded queue of writes, eviction.
 *
 * Invariants:
 * - Admission: a file is written only after room for it was made, so that what this process knows of never exceeds the
 *   least `maxBytes` of those that use the folder. Other processes are known by a scan, which comes before the first
 *   write, and again when its time has come or an eighth of the limit was written. No timer: without writes no scan.
 * - Nothing here fails a reader: what cannot be read is not there, and what cannot be written is not kept.
 * - One write at a time, a bounded number waiting; what does not fit is not kept, and counted.
 * - One of several users closes nothing of the others.
 *
 * @module
 */
import { fileError, type FileSystem } from "../file/file_system.ts";
import { CacheTree, spaceOf } from "./cache_tree.ts";
import { scanFolder } from "./folder_scan.ts";
import type { Moment } from "./moment.ts";
import { storedBytes } from "./part_file.ts";
import { PartIndex, PARTS_MAX } from "./part_index.ts";
import { PartQueue, type PartWrite } from "./part_queue.ts";
import { type CachedObject, parsePartName, partName } from "./part_name.ts";

/** To what share of the limit an eviction goes. */
const EVICTED_TO = 0.9;
/** Files that could not be removed, after which an eviction gives up. */
const STUBBORN_MAX = 16;
/** After a failed write nothing is written for so long, ms. */
const PAUSE_MILLIS = 60_000;
/** Least number of bytes written between two scans that are not due by time. */
const SCAN_BYTES_MIN: number = 8 * 1024 * 1024;

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

const folders: WeakMap<FileSystem, Map<string, PartFolder>> = new WeakMap();

/** A folder of parts. */
export class PartFolder {
  readonly tree: CacheTree;
  readonly index: PartIndex = new PartIndex();
  /** Files that could not be believed, and were removed. */
  damagedParts = 0;
  /** Why the last write or scan failed; undefined since one succeeded. */
  trouble: string | undefined = undefined;
  readonly #seats: Set<Seat> = new Set();
  #prepared: Promise<void> | undefined = undefined;
  readonly #queue = new PartQueue();
  /** Bytes that are being fetched where an eviction is not wanted. */
  #reserved = 0;
  #working: Promise<void> | undefined = undefined;
  #pausedUntilMillis = -Infinity;
  #scanDue: Moment | undefined = undefined;
  #scannedAtMillis = -Infinity;
  #writtenSinceScan = 0;

  private constructor(files: FileSystem, path: string) {
    this.tree = new CacheTree(files, path);
  }

  /** The folder of this path, the same for all in this process. */
  static shared(files: FileSystem, path: string): PartFolder {
    const fresh = new PartFolder(files, path);
    let known = folders.get(files);
    if (known === undefined) folders.set(files, known = new Map());
    const found = known.get(fresh.tree.root);
    if (found !== undefined) return found;
    known.set(fresh.tree.root, fresh);
    return fresh;
  }

  /** Takes a seat; at once after `shared`, since a folder without seats is forgotten. */
  join(seat: Seat): void {
    this.#seats.add(seat);
  }

  /** Leaves: what waits on behalf of `seat` is dropped, what is being written is waited for. */
  async leave(seat: Seat): Promise<void> {
    this.#seats.delete(seat);
    this.#queue.drop((write) => write.seat === seat);
    if (this.#seats.size === 0) folders.get(this.tree.files)?.delete(this.tree.root);
    await (this.#seats.size === 0 ? this.#working : this.#queue.currentEnded);
  }

  /** Makes the folder, proves that it can be written, and begins to look at what is in it. Fails like the disk. */
  async prepare(moment: Moment): Promise<void> {
    await (this.#prepared ??= this.#prepare(moment));
    if (this.#scannedAtMillis > -Infinity || this.#scanDue !== undefined) return;
    this.#scanDue = moment;
    this.#wake();
  }

  async #prepare(moment: Moment): Promise<void> {
    this.index.seed(parseInt(moment.unique.slice(0, 7), 16));
    try {
      await this.tree.prepare(moment.unique);
    } catch (error) {
      this.#prepared = undefined;
      throw error;
    }
  }

  /** Bytes `from..to` of a part, if they are here. Never fails. */
  async read(object: CachedObject, part: number, from: number, to: number): Promise<Uint8Array | undefined> {
    const name = partName(object, part);
    const waiting = this.waiting(object, part, from, to);
    if (waiting !== undefined) return waiting;
    const known = this.index.find(name);
    try {
      const found = await this.tree.read(object, part, from, to);
      if (found instanceof Uint8Array) {
        if (!this.index.touch(name)) await this.#adopt(object, part, name);
        return found;
      }
      // Unless it was written since: then it is there.
      if (found === "absent" && this.index.find(name) === known) this.index.remove(name);
      if (found === "damaged") {
        this.damagedParts++;
        if (await this.tree.remove(object.shard, name)) this.index.remove(name);
      }
    } catch {
      // What cannot be read is fetched; whether the disk is to be left alone, writing to it tells.
    }
    return undefined;
  }

  /** Bytes `from..to` of a part that is on its way to the disk: a copy. */
  waiting(object: CachedObject, part: number, from: number, to: number): Uint8Array | undefined {
    const waiting = this.#queue.find(partName(object, part));
    return waiting === undefined || waiting.length < to ? undefined : waiting.slice(from, to);
  }

  /** Whether a part is here, or on its way, as far as is known. */
  knows(object: CachedObject, part: number): boolean {
    const name = partName(object, part);
    return this.#queue.find(name) !== undefined || this.index.find(name) !== undefined;
  }

  /** Removes parts that turned out to be wrong. Never fails. */
  async discard(object: CachedObject, first: number, last: number): Promise<void> {
    for (let part = first; part <= last; part++) {
      const name = partName(object, part);
      if (await this.tree.remove(object.shard, name)) this.index.remove(name);
    }
  }

  /** Whether a part with at least `length` bytes seems to be here. Never fails. */
  async holds(object: CachedObject, part: number, length: number): Promise<boolean> {
    const size = await this.tree.size(object, part).catch(() => undefined);
    return size !== undefined && size.file >= storedBytes(length);
  }

  /** Takes bytes to be kept; false when they will not be. */
  offer(write: PartWrite): boolean {
    const { seat, moment } = write;
    const isPaused = moment.monotonicMillis < this.#pausedUntilMillis || !this.#seats.has(seat);
    if (isPaused || !this.#queue.push(write)) {
      countSkipped(write);
      return false;
    }
    const since = moment.monotonicMillis - this.#scannedAtMillis;
    const share = Math.max(SCAN_BYTES_MIN, this.#limit / 8);
    if (since >= seat.scanIntervalMillis || this.#writtenSinceScan >= share) this.#scanDue ??= moment;
    this.#wake();
    return true;
  }

  /** Forgets everything of an object, also what waits to be written. */
  async forget(object: CachedObject): Promise<void> {
    this.#queue.drop((write) => write.object.digest === object.digest);
    await this.#queue.currentEnded;
    for (const name of await this.tree.partsOf(object)) {
      if (await this.tree.remove(object.shard, name)) this.index.remove(name);
    }
  }

  /** Waits until nothing waits to be written. */
  async settled(): Promise<void> {
    while (this.#working !== undefined) await this.#working;
  }

  /** Keeps room for so many bytes, until `release`; false when they do not fit without an eviction. */
  reserve(length: number): boolean {
    const taken = this.index.bytes + spaceOf(this.#queue.bytes) + this.#reserved + spaceOf(length);
    if (taken > EVICTED_TO * this.#limit || this.index.count >= PARTS_MAX) return false;
    this.#reserved += spaceOf(length);
    return true;
  }

  /** Gives back what `reserve` has kept. */
  release(length: number): void {
    this.#reserved -= spaceOf(length);
  }

  get #limit(): number {
    let limit = Infinity;
    for (const { maxBytes } of this.#seats) limit = Math.min(limit, maxBytes);
    return limit;
  }

  /** Enters a file that another process has written. */
  async #adopt(object: CachedObject, part: number, name: string): Promise<void> {
    const size = await this.tree.size(object, part);
    if (size !== undefined && this.index.count < PARTS_MAX) this.index.put(name, size.disk);
  }

  #wake(): void {
    this.#working ??= this.#work();
  }

  /** Scans and writes until nothing is left to do. Never fails. */
  async #work(): Promise<void> {
    // Whoever asked goes on first.
    await Promise.resolve();
    for (;;) {
      if (this.#scanDue !== undefined && this.#seats.size > 0) await this.#try(this.#scanDue, () => this.#scan());
      const write = this.#queue.begin();
      if (write === undefined) {
        this.#working = undefined;
        return;
      }
      await this.#try(write.moment, () => this.#write(write));
      this.#queue.end();
    }
  }

  /** Does something; when it fails, nothing is written for a while. */
  async #try({ monotonicMillis }: Moment, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.trouble = undefined;
    } catch (error) {
      this.trouble = fileError(this.tree.root, "put", "", error).detail;
      this.#scanDue = undefined;
      this.#pausedUntilMillis = monotonicMillis + PAUSE_MILLIS;
      // The memory of what waits is worth more than another failure.
      this.#queue.dropWaiting((write) => {
        countSkipped(write);
        return true;
      });
    }
  }

  async #scan(): Promise<void> {
    const moment = this.#scanDue!;
    await (this.#prepared ??= this.#prepare(moment));
    await scanFolder({
      files: this.tree.files,
      shardPath: (shard) => this.tree.shardPath(shard),
      index: this.index,
      nowMillis: moment.wallMillis,
      isBeingWritten: (path) => this.tree.isBeingWritten(path),
      makeRoom: async () => void (this.index.count >= PARTS_MAX && await this.#evictTo(Infinity)),
      isStopped: () => this.#seats.size === 0,
    });
    this.#scanDue = undefined;
    this.#scannedAtMillis = moment.monotonicMillis;
    this.#writtenSinceScan = 0;
  }

  async #write(write: PartWrite): Promise<void> {
    const { object, firstPart, partBytes, bytes, seat, moment } = write;
    for (let part = firstPart, at = 0; at < bytes.length; part++, at += partBytes) {
      if (this.#queue.isCurrentDropped) return;
      const own = bytes.subarray(at, at + partBytes);
      const space = spaceOf(own.length);
      if (!await this.#makeRoom(space)) {
        seat.skippedParts++;
        continue;
      }
      try {
        await this.tree.write(object, part, own, moment.unique);
      } catch (error) {
        countSkipped({ ...write, bytes: bytes.subarray(at) });
        throw error;
      }
      this.#writtenSinceScan += space;
      this.index.put(partName(object, part), space);
    }
  }

  async #makeRoom(space: number): Promise<boolean> {
    const limit = this.#limit;
    if (this.index.bytes + space <= limit && this.index.count < PARTS_MAX) return true;
    if (space > EVICTED_TO * limit) return false;
    return await this.#evictTo(EVICTED_TO * limit - space);
  }

  /** Evicts until at most so many bytes are left; false when files cannot be removed. */
  async #evictTo(bytes: number): Promise<boolean> {
    const countMax = this.index.count >= PARTS_MAX ? EVICTED_TO * PARTS_MAX : PARTS_MAX;
    let stubborn = 0;
    while (this.index.bytes > bytes || this.index.count > countMax) {
      const name = this.index.victim();
      if (name === undefined) return false;
      if (!await this.tree.remove(parsePartName(name)!, name)) {
        if (++stubborn > STUBBORN_MAX) return false;
        continue;
      }
      const freed = this.index.remove(name);
      for (const seat of this.#seats) {
        seat.evictedKeys++;
        seat.evictedBytes += freed;
      }
    }
    return true;
  }
}

function countSkipped({ seat, bytes, partBytes }: PartWrite): void {
  seat.skippedParts += Math.ceil(bytes.length / partBytes);
}
