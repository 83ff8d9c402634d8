/**
 * One folder of cached parts, as all disk caches of a process share it: reads, a bounded queue of writes, eviction.
 *
 * Invariants:
 * - Admission: a file is written only after room for it was made, so that what this process knows of never exceeds the
 *   least `maxBytes` of those that use the folder. Other processes are known by a scan, which comes before the first
 *   write, and again when its time has come or an eighth of the limit was written. No timer: without writes no scan.
 * - Nothing here fails a reader: what cannot be read is not there, and what cannot be written is not kept.
 * - What was replaced, deleted or found wrong is not read from that moment on. Its files are removed by the worker.
 * - Nobody waits for a disk that hangs: the worker gives up what makes no step, drops what waits, and begins nothing
 *   new before that has ended.
 * - One write at a time, a bounded number waiting; what does not fit is not kept, and counted.
 * - One of several users closes nothing of the others.
 *
 * @module
 */
import type { Effect } from "effect";
import { OneShot } from "../../env/one_shot.ts";
import { beginIo } from "../../env/real_io.ts";
import { fileError, type FileSystem } from "../file/file_system.ts";
import { CacheTree, spaceOf } from "./cache_tree.ts";
import { type Doubt, DoubtedParts } from "./doubted_parts.ts";
import { EVICTED_TO, FolderRoom, type Seat } from "./folder_room.ts";
import { scanFolder } from "./folder_scan.ts";
import type { Moment } from "./moment.ts";
import { storedBytes } from "./part_file.ts";
import { PartIndex, PARTS_MAX } from "./part_index.ts";
import { PartQueue, type PartWrite } from "./part_queue.ts";
import { type CachedObject, partName } from "./part_name.ts";
import { WorkWatch } from "./work_watch.ts";

/** After a failed write nothing is written for so long, ms. */
const PAUSE_MILLIS = 60_000;
/** Least number of bytes written between two scans that are not due by time. */
const SCAN_BYTES_MIN: number = 8 * 1024 * 1024;

export type { Seat } from "./folder_room.ts";

const folders: WeakMap<FileSystem, Map<string, PartFolder>> = new WeakMap();

/** A folder of parts. */
export class PartFolder {
  readonly tree: CacheTree;
  readonly index: PartIndex = new PartIndex();
  /** Files that could not be believed, and were removed. */
  damagedParts = 0;
  readonly #doubts = new DoubtedParts();
  readonly #watch = new WorkWatch();
  readonly #room: FolderRoom;
  #failure: string | undefined = undefined;
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
  /** Work that was given up and has not ended. */
  #hung: Promise<void> | undefined = undefined;
  #idle: OneShot<never> = ended();
  /** When something was doubted last. */
  #doubtedAt: Moment | undefined = undefined;

  private constructor(files: FileSystem, path: string) {
    this.tree = new CacheTree(files, path);
    this.#room = new FolderRoom(this.tree, this.index, this.#seats, () => this.#watch.step());
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
    await (this.#seats.size === 0 ? this.#working : this.#queue.currentEnded);
    this.#endUnused();
  }

  /** Who comes next begins anew, unless there is something here that must not be forgotten. */
  #endUnused(): void {
    if (this.#seats.size > 0 || !this.#doubts.isEmpty || this.#hung !== undefined) return;
    const known = folders.get(this.tree.files);
    if (known?.get(this.tree.root) === this) known.delete(this.tree.root);
  }

  /** Why nothing is written: what failed last, or what hangs; undefined while all is well. */
  get trouble(): string | undefined {
    if (this.#hung !== undefined) return `folder ${this.tree.root} does not answer`;
    if (this.#doubts.isFull) return `folder ${this.tree.root}: too much in it could not be removed`;
    return this.#failure;
  }

  /** Watches, in a fiber of its own, that what goes on here makes progress. */
  get watched(): Effect.Effect<void> {
    return this.#watch.watch(() => this.#idle);
  }

  /** Makes the folder, proves that it can be written, and begins to look at what is in it. Fails like the disk. */
  async prepare(moment: Moment): Promise<void> {
    await (this.#prepared ??= this.#prepare(moment));
    if (this.#scannedAtMillis > -Infinity || this.#scanDue !== undefined) return;
    this.#scanDue = moment;
    this.#wake(moment);
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
    if (this.#doubts.has(object, name)) return undefined;
    const known = this.index.find(name);
    try {
      const found = await this.tree.read(object, part, from, to);
      if (found instanceof Uint8Array) {
        if (!this.index.touch(name)) await this.#adopt(object, part, name);
        return this.#doubts.has(object, name) ? undefined : found;
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
    return this.#queue.find(name) !== undefined ||
      (this.index.find(name) !== undefined && !this.#doubts.has(object, name));
  }

  /** Removes parts that turned out to be wrong, also what waits to be written; from now on nobody reads them here. */
  discard(object: CachedObject, first: number, last: number, moment: Moment): void {
    this.#queue.drop(({ object: { digest }, firstPart, partBytes, bytes }) =>
      digest === object.digest && firstPart <= last && firstPart + Math.ceil(bytes.length / partBytes) > first
    );
    for (let part = first; part <= last; part++) this.#doubts.add(object, part);
    this.#remove(moment);
  }

  /** Whether a part with at least `length` bytes seems to be here. Never fails. */
  async holds(object: CachedObject, part: number, length: number): Promise<boolean> {
    if (this.#doubts.has(object, partName(object, part))) return false;
    const size = await this.tree.size(object, part).catch(() => undefined);
    return size !== undefined && size.file >= storedBytes(length);
  }

  /** Takes bytes to be kept; false when they will not be. */
  offer(write: PartWrite): boolean {
    const { seat, moment } = write;
    if (this.#isPaused(moment) || this.#doubts.isFull || !this.#seats.has(seat) || !this.#queue.push(write)) {
      countSkipped(write);
      return false;
    }
    const since = moment.monotonicMillis - this.#scannedAtMillis;
    const share = Math.max(SCAN_BYTES_MIN, this.#room.limit / 8);
    if (since >= seat.scanIntervalMillis || this.#writtenSinceScan >= share) this.#scanDue ??= moment;
    this.#wake(moment);
    return true;
  }

  /** Forgets everything of an object, also what waits to be written; from now on nobody reads it here. */
  forget(object: CachedObject, moment: Moment): void {
    this.#queue.drop((write) => write.object.digest === object.digest);
    this.#doubts.add(object);
    this.#remove(moment);
  }

  #remove(moment: Moment): void {
    this.#doubtedAt = moment;
    if (!this.#isPaused(moment)) this.#wake(moment);
  }

  #isPaused({ monotonicMillis }: Moment): boolean {
    return this.#hung !== undefined || monotonicMillis < this.#pausedUntilMillis;
  }

  /** Waits until nothing waits to be written. */
  async settled(): Promise<void> {
    while (this.#working !== undefined) await this.#working;
  }

  /** Keeps room for so many bytes, until `release`; false when they do not fit without an eviction. */
  reserve(length: number): boolean {
    const taken = this.index.bytes + spaceOf(this.#queue.bytes) + this.#reserved + spaceOf(length);
    if (taken > EVICTED_TO * this.#room.limit || this.index.count >= PARTS_MAX) return false;
    this.#reserved += spaceOf(length);
    return true;
  }

  /** Gives back what `reserve` has kept. */
  release(length: number): void {
    this.#reserved -= spaceOf(length);
  }

  /** Enters a file that another process has written. */
  async #adopt(object: CachedObject, part: number, name: string): Promise<void> {
    const size = await this.tree.size(object, part);
    if (size !== undefined && this.index.count < PARTS_MAX) this.index.put(name, size.disk);
  }

  #wake(moment: Moment): void {
    if (this.#working !== undefined || this.#hung !== undefined) return;
    const idle = this.#idle = new OneShot<never>();
    const done = beginIo(moment.clock);
    this.#working = this.#work().finally(() => {
      idle.succeed();
      done();
    });
  }

  /** Scans, removes and writes until nothing is left to do. Never fails. */
  async #work(): Promise<void> {
    // Whoever asked goes on first.
    await Promise.resolve();
    while (this.#hung === undefined) {
      if (this.#scanDue !== undefined && this.#seats.size > 0) await this.#try(this.#scanDue, () => this.#scan());
      else {
        const doubt = this.#doubts.first();
        if (doubt !== undefined && !this.#isPaused(this.#doubtedAt!)) {
          await this.#try(this.#doubtedAt!, () => this.#clean(doubt));
          continue;
        }
        const write = this.#queue.begin();
        if (write === undefined) break;
        await this.#try(write.moment, () => this.#write(write));
        this.#queue.end();
      }
    }
    this.#working = undefined;
  }

  /** Does something; when it fails, nothing is written for a while, and when it hangs, until it has ended. */
  async #try({ monotonicMillis }: Moment, work: () => Promise<void>): Promise<void> {
    const running = work();
    try {
      if (await this.#watch.within(running)) this.#failure = undefined;
      else this.#gaveUp(running);
    } catch (error) {
      this.#failure = fileError(this.tree.root, "put", "", error).detail;
      this.#pausedUntilMillis = monotonicMillis + PAUSE_MILLIS;
      this.#dropWaiting();
    }
  }

  #gaveUp(running: Promise<void>): void {
    this.#hung = running;
    this.#dropWaiting();
    const end = () => {
      this.#hung = undefined;
      this.#endUnused();
    };
    running.then(end, end);
  }

  /** The memory of what waits is worth more than another failure. */
  #dropWaiting(): void {
    this.#scanDue = undefined;
    this.#queue.dropWaiting((write) => {
      countSkipped(write);
      return true;
    });
  }

  /** Removes what must not be read any more. Fails where that is not possible. */
  async #clean(doubt: Doubt): Promise<void> {
    const { object, part } = doubt;
    const names = part === undefined ? await this.tree.partsOf(object) : [partName(object, part)];
    for (const name of names) {
      this.#watch.step();
      await this.tree.removeSurely(object.shard, name);
      this.index.remove(name);
    }
    this.#doubts.settle(doubt);
  }

  async #scan(): Promise<void> {
    const moment = this.#scanDue!;
    this.#room.ceiling = Infinity;
    await (this.#prepared ??= this.#prepare(moment));
    await scanFolder({
      files: this.tree.files,
      shardPath: (shard) => this.tree.shardPath(shard),
      index: this.index,
      nowMillis: moment.wallMillis,
      isBeingWritten: (path) => this.tree.isBeingWritten(path),
      makeRoom: async () => void (this.index.count >= PARTS_MAX && await this.#room.evictTo(Infinity)),
      onStep: () => this.#watch.step(),
      isStopped: () => this.#seats.size === 0,
    });
    this.#scanDue = undefined;
    this.#scannedAtMillis = moment.monotonicMillis;
    this.#writtenSinceScan = 0;
  }

  async #write(write: PartWrite): Promise<void> {
    const { object, firstPart, partBytes, bytes, seat, moment } = write;
    for (let part = firstPart, at = 0; at < bytes.length; part++, at += partBytes) {
      if (!this.#queue.isWanted(write)) return;
      const own = bytes.subarray(at, at + partBytes);
      const space = spaceOf(own.length);
      if (!await this.#room.make(space)) {
        seat.skippedParts++;
        continue;
      }
      try {
        await this.#room.store(
          space,
          () => this.tree.write(object, part, own, moment.unique, () => this.#watch.step()),
        );
      } catch (error) {
        countSkipped({ ...write, bytes: bytes.subarray(at) });
        throw error;
      }
      this.#writtenSinceScan += space;
      this.index.put(partName(object, part), space);
    }
  }
}

function countSkipped({ seat, bytes, partBytes }: PartWrite): void {
  seat.skippedParts += Math.ceil(bytes.length / partBytes);
}

function ended(): OneShot<never> {
  const idle = new OneShot<never>();
  idle.succeed();
  return idle;
}
